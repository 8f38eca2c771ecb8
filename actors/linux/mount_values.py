"""Mount values: what a snapshot answers with, and what can be made of one before it is mounted. Pure.

A value has type, source and options in the words of mount(8). Overlay options can exceed the kernel's page
when every lower directory is named in full, so a value may carry a `base`, to which its directories are
relative.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from actors.linux import idmap

OPTIONS_BYTES = 4095  # the kernel copies one page, its closing zero included
_DIRECTORIES = frozenset(["lowerdir", "upperdir", "workdir"])
_SIGNS = (",", ":", "\\")  # what means something in the options of an overlay


@dataclass(frozen=True, slots=True)
class Mount:
    """One thing to mount: containerd's mount value, and the directory its relative paths start from."""

    type: str
    source: str
    options: tuple[str, ...] = ()
    base: str | None = None


def shortened(value: Mount) -> Mount:
    """An overlay of too many directories, with these named from the one that they have in common."""
    if len(",".join(value.options)) <= OPTIONS_BYTES:
        return value
    named = [word.partition("=") for word in value.options]
    paths = [path for name, _, said in named if name in _DIRECTORIES for path in said.split(":")]
    usable = value.type == "overlay" and paths and all(path.startswith("/") for path in paths)
    if not usable or any("\\" in path for path in paths):  # an escaped colon is not taken apart
        return value
    base = os.path.commonpath([Path(path).parent for path in paths])

    def relative(said: str) -> str:
        return ":".join(os.path.relpath(path, base) for path in said.split(":"))

    options = [
        f"{name}={relative(said)}" if name in _DIRECTORIES else name + equals + said
        for name, equals, said in named
    ]
    return Mount(value.type, value.source, tuple(options), base)


def in_full(value: Mount, base: str) -> Mount | None:
    """The same by absolute paths, for which no thread has to change its directory (0.9 ms).

    None where they do not fit, or where overlayfs would read them otherwise than they are meant.
    """
    if value.type != "overlay" or any(sign in base for sign in _SIGNS):
        return None
    options = []
    for word in value.options:
        name, equals, said = word.partition("=")
        if name in _DIRECTORIES:
            said = ":".join(os.path.join(base, path) for path in said.split(":"))  # noqa: PTH118
        options.append(name + equals + said)
    fits = len(os.fsencode(",".join(options))) <= OPTIONS_BYTES
    return Mount(value.type, value.source, tuple(options)) if fits else None


def read_only(value: Mount) -> Mount:
    """The same files without a writable layer: the upper of an overlay is one more of the lower ones.

    As the upper one it is not mapped where owners are shifted, and so it is not as a lower one.
    """
    if value.type != "overlay":
        return replace(value, options=("rbind", "ro"))
    if idmap.split(value.options)[0] is not None:
        value = replace(value, options=writable_outside(value.options, value.base))
    named = dict(option.partition("=")[::2] for option in value.options)
    lowers = [named[name] for name in ("upperdir", "lowerdir") if name in named]
    own = ("lowerdir", "upperdir", "workdir")
    kept = [option for option in value.options if option.partition("=")[0] not in own]
    return replace(value, options=(*kept, "ro", f"lowerdir={':'.join(lowers)}"))


def writable_outside(options: tuple[str, ...], base: str | None) -> tuple[str, ...]:
    """Upper and work directory by absolute paths, so that a clone of `base` does not lead to them."""
    named = (word.partition("=") for word in options)
    return tuple(
        f"{name}={base}/{path}" if name in {"upperdir", "workdir"} else name + equals + path
        for name, equals, path in named
    )


def volatile(value: Mount) -> Mount:
    """The same, whose writable layer is never waited for to be on disk; nothing else is changed."""
    writable = value.type == "overlay" and any(word.startswith("upperdir=") for word in value.options)
    return replace(value, options=(*value.options, "volatile")) if writable else value
