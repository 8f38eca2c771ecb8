"""The config of an image: how its process is started, and which layers make its root.

Source: OCI image-spec, "Image Configuration".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.document import (
    optional_list,
    optional_strings,
    optional_text,
    optional_text_map,
    parse_document,
    require_object,
    require_text,
)
from storage.image.media_types import IMAGE_CONFIGS
from storage.image.platform import Platform

_WHAT: Final = "image config"


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What an image asks for; nothing in here is trusted or checked beyond its type.

    `diff_ids` are the digests of the uncompressed layers from the lowest up. Texts are verbatim; empty
    means not given.
    """

    platform: Platform
    diff_ids: tuple[Digest, ...]
    created: str = ""
    author: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    stop_signal: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        """The command line of a container that asks for no other."""
        return self.entrypoint + self.cmd


def parse_config(content: bytes, media_type: str) -> ImageConfig:
    """Read the config of an image. Null means not given, wherever a value is optional.

    Raises:
        InvalidArgumentError: `media_type` is not that of an image config (an artifact's is opaque), or
            the content is larger than 4 MiB, no strict JSON, or has a field of the wrong type.
    """
    if media_type not in IMAGE_CONFIGS:
        raise InvalidArgumentError(f"config of type {media_type[:200]!r} is not an image's: it cannot be run")
    document = parse_document(content, _WHAT)
    run = require_object({} if document.get("config") is None else document["config"], f"'config' of {_WHAT}")
    optional_list(document, "history", _WHAT, _check_step)
    return ImageConfig(
        platform=Platform.from_dict(document),
        diff_ids=_diff_ids(document),
        created=optional_text(document, "created", _WHAT),
        author=optional_text(document, "author", _WHAT),
        env=_arguments(run, "Env"),
        entrypoint=_arguments(run, "Entrypoint"),
        cmd=_arguments(run, "Cmd"),
        user=_argument(run, "User"),
        working_dir=_argument(run, "WorkingDir"),
        labels=optional_text_map(run, "Labels", _WHAT),
        stop_signal=_argument(run, "StopSignal"),
        exposed_ports=_names(run, "ExposedPorts"),
        volumes=_names(run, "Volumes"),
    )


def _diff_ids(document: Mapping[str, Any]) -> tuple[Digest, ...]:
    rootfs = require_object(document.get("rootfs"), f"'rootfs' of {_WHAT}")
    if require_text(rootfs, "type", f"'rootfs' of {_WHAT}") != "layers":
        raise InvalidArgumentError(f"'rootfs' of {_WHAT} does not have type 'layers'")
    diff_ids = tuple(Digest.parse(text) for text in optional_strings(rootfs, "diff_ids", _WHAT))
    for digest in diff_ids:
        if not digest.verifiable:
            raise InvalidArgumentError(f"diff id {digest} of {_WHAT} cannot be verified: use sha256")
    return diff_ids


def _check_step(step: object) -> None:
    """What an element of the history says is text for people; that it is an object is relied on."""
    if step is not None:
        require_object(step, f"an element of 'history' of {_WHAT}")


def _argument(fields: Mapping[str, Any], name: str) -> str:
    return _without_nul(optional_text(fields, name, _WHAT), name)


def _arguments(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(_without_nul(text, name) for text in optional_strings(fields, name, _WHAT))


def _names(fields: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The names of a set, which JSON writes as an object of empty objects."""
    value = fields.get(name)
    members = {} if value is None else require_object(value, f"{name!r} of {_WHAT}")
    for member in members.values():
        if member is not None:
            require_object(member, f"a member of {name!r} of {_WHAT}")
    return tuple(_without_nul(member, name) for member in members)


def _without_nul(text: str, name: str) -> str:
    """The kernel ends arguments and paths at a NUL: what follows would be hidden from one reader."""
    if "\0" in text:
        raise InvalidArgumentError(f"{_WHAT} has a nul character in {name!r}")
    return text
