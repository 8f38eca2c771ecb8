"""Options that put something into a container's file system: -v, --mount, --tmpfs."""

from __future__ import annotations

from cli.options import Given, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOUNTS = (
    Option(
        "-v --volume",
        "mount at TARGET: SOURCE, a path of the host or a volume's name (a volume of its own); OPTIONS as ro",
        value="[SOURCE:]TARGET[:OPTIONS]",
        many=True,
    ),
    Option(
        "--mount",
        "the same in full: type=bind|volume|tmpfs,source=S,target=T",
        value="K=V[,K=V]",
        many=True,
    ),
    Option(
        "--tmpfs",
        "mount a file system in memory, for example /run:size=16m",
        value="TARGET[:OPTIONS]",
        many=True,
    ),
)
_NAMES = {"src": "source", "dst": "target", "destination": "target"}
_FLAGS = {"ro": "readonly", "readonly": "readonly", "volume-nocopy": "nocopy", "nocopy": "nocopy"}
_TMPFS = {"tmpfs-size": "size", "tmpfs-mode": "mode"}


def mounts(given: Given) -> dict[str, Any]:
    """What was given, as `options` of `containers.create` has it. Raises UsageError."""
    found = [_full(text) for text in given.many("mount")]
    found += [_volume(text) for text in given.many("volume")]
    found += [_tmpfs(text) for text in given.many("tmpfs")]
    return {"mounts": found}


def _volume(text: str) -> dict[str, Any]:
    """`/data`, `name:/data`, `/srv:/data:ro`: a source that is a path is the host's, any other a volume."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise UsageError(f"--volume wants [SOURCE:]TARGET[:OPTIONS], not {text!r}")
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    words = parts[2].split(",") if len(parts) == 3 else []
    if source.startswith("."):
        raise UsageError(f"--volume {text}: write the whole path of {source}, or a volume's name")
    found: dict[str, Any] = {"type": "bind" if source.startswith("/") else "volume", "target": target}
    if source:
        found["source"] = source
    return _with_options(found, words)


def _with_options(found: dict[str, Any], words: list[str]) -> dict[str, Any]:
    options = []
    for word in words:
        if word in _FLAGS:
            found[_FLAGS[word]] = True
        elif word:
            options.append(word)
    return {**found, "options": options} if options else found


def _tmpfs(text: str) -> dict[str, Any]:
    target, _, options = text.partition(":")
    return _with_options({"type": "tmpfs", "target": target}, options.split(","))


def _full(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "volume"}
    options: list[str] = []
    for word in text.split(","):
        key, _, value = word.partition("=")
        key = _NAMES.get(key, key)
        if key in _FLAGS and value in ("", "true", "1", "false", "0"):
            found[_FLAGS[key]] = value not in ("false", "0")
        elif key in ("type", "source", "target") and value:
            found[key] = value
        elif key in _TMPFS and value:
            options.append(f"{_TMPFS[key]}={value}")
        elif key in ("bind-propagation", "options") and value:
            options.append(value)
        else:
            raise UsageError(
                f"--mount {text}: {word!r} is not known; for example type=bind,source=/a,target=/b"
            )
    if found["type"] not in ("bind", "volume", "tmpfs"):
        raise UsageError(f"--mount {text}: type is one of bind, volume, tmpfs")
    if "target" not in found:
        raise UsageError(f"--mount {text}: target is missing")
    return {**found, "options": options} if options else found
