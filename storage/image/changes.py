"""Changes to an image's config, written as the instructions that people know from Dockerfiles."""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from storage.errors import InvalidArgumentError

Config = dict[str, Any]


def apply_changes(config: Config, changes: Iterable[str]) -> Config:
    """The `config` object of an image with the changes made, in order.

    Raises:
        InvalidArgumentError: An instruction is unknown or malformed.
    """
    changed = dict(config)
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None or not rest.strip():
            known = ", ".join(_INSTRUCTIONS)
            raise InvalidArgumentError(
                f"change {change[:200]!r} is not understood: one of {known}, and a value"
            )
        if "\0" in rest:
            raise InvalidArgumentError(f"change {change[:200]!r} has a nul character")
        instruction(changed, rest.strip())
    return changed


def _command(text: str) -> list[str]:
    """A list of words in JSON, or a line for the shell."""
    if not text.startswith("["):
        return ["/bin/sh", "-c", text]
    try:
        words = json.loads(text)
    except ValueError as error:
        raise InvalidArgumentError(f"{text[:200]!r} is no list of words in json: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise InvalidArgumentError(f"{text[:200]!r} is no list of words")
    return words


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise InvalidArgumentError(f"{text[:200]!r} is not of the form KEY=VALUE")
    return key, value.strip('"')


def _set(name: str, read: Callable[[str], Any] = str) -> Callable[[Config, str], None]:
    def instruction(config: Config, text: str) -> None:
        config[name] = read(text)

    return instruction


def _member(name: str) -> Callable[[Config, str], None]:
    """Into a set, which JSON writes as an object of empty objects."""

    def instruction(config: Config, text: str) -> None:
        config[name] = {**(config.get(name) or {}), **{word: {} for word in text.split()}}

    return instruction


def _environment(config: Config, text: str) -> None:
    key, value = _pair(text)
    kept = [one for one in config.get("Env") or [] if one.partition("=")[0] != key]
    config["Env"] = [*kept, f"{key}={value}"]


def _label(config: Config, text: str) -> None:
    key, value = _pair(text)
    config["Labels"] = {**(config.get("Labels") or {}), key: value}


_INSTRUCTIONS: Final[dict[str, Callable[[Config, str], None]]] = {
    "CMD": _set("Cmd", _command),
    "ENTRYPOINT": _set("Entrypoint", _command),
    "ENV": _environment,
    "EXPOSE": _member("ExposedPorts"),
    "LABEL": _label,
    "STOPSIGNAL": _set("StopSignal"),
    "USER": _set("User"),
    "VOLUME": _member("Volumes"),
    "WORKDIR": _set("WorkingDir"),
}
