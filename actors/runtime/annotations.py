"""The annotations that an image gives to its containers (image-spec conversion.md).

Runtimes obey some annotations (a kernel hook's output file, a handler, a systemd property), and so does
actord. Those are for the caller: a label of an image that falls into such a name space is left out.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

_PREFIX = "org.opencontainers.image."
_MOST_LABELS = 1024
_MOST_BYTES = 4096

_RESERVED = (
    "actord.",
    "com.docker.",
    "containerd.io/",
    "io.actord.",
    "io.containerd.",
    "io.kubernetes.",
    "io.podman.",
    "module.wasm.",
    "org.criu.",
    "org.systemd.property.",
    "run.oci.",
)


def image_annotations(image: Mapping[str, Any]) -> dict[str, str]:
    """Annotations of a whole image configuration; its labels win over what is derived from its fields.

    Values that are not text, or too many or too long, are left out: nothing depends on them.
    """
    config = image.get("config")
    config = config if isinstance(config, Mapping) else {}
    derived = {
        "os": image.get("os"),
        "os.version": image.get("os.version"),
        "os.features": _joined(image.get("os.features")),
        "architecture": image.get("architecture"),
        "variant": image.get("variant"),
        "author": image.get("author"),
        "created": image.get("created"),
        "stopSignal": config.get("StopSignal"),
        "exposedPorts": _joined(config.get("ExposedPorts")),
    }
    found = {_PREFIX + name: value for name, value in derived.items() if _is_text(value) and value}
    return found | _labels(config.get("Labels"))


def _labels(labels: object) -> dict[str, str]:
    entries = list(labels.items())[:_MOST_LABELS] if isinstance(labels, Mapping) else []
    return {
        name: value
        for name, value in entries
        if _is_text(name) and _is_text(value) and not name.startswith(_RESERVED)
    }


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= _MOST_BYTES


def _joined(value: object) -> str:
    """A list, or the names of an object, as the specification joins them: with commas."""
    if isinstance(value, list | dict):
        return ",".join(item for item in value if isinstance(item, str))
    return ""
