"""A bundle that the caller brings: config.json and root as they are, run as if actord had made them.

What is changed: the root is bound where every container's is, and the cgroup is the container's. What a
runtime of specification 1.0.2 would pass over in silence is refused by name.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from actors.runtime.default_spec import HOOKS
from actors.runtime.errors import InvalidSpecError

_MOST_BYTES = 4 << 20

# Fields of the specification's later releases, or of other systems: by the place that they stand in.
_KNOWN: dict[str, frozenset[str]] = {
    "": frozenset(["ociVersion", "process", "root", "hostname", "mounts", "annotations", "linux", "hooks"]),
    "process": frozenset(
        [
            "terminal",
            "consoleSize",
            "user",
            "args",
            "env",
            "cwd",
            "capabilities",
            "rlimits",
            "noNewPrivileges",
            "oomScoreAdj",
            "apparmorProfile",
            "selinuxLabel",
        ]
    ),
    "linux": frozenset(
        [
            "namespaces",
            "uidMappings",
            "gidMappings",
            "devices",
            "cgroupsPath",
            "resources",
            "rootfsPropagation",
            "maskedPaths",
            "readonlyPaths",
            "seccomp",
            "sysctl",
            "mountLabel",
            "intelRdt",
            "personality",
        ]
    ),
    "hooks": HOOKS,
}


def load(directory: str, cgroups_path: str) -> tuple[dict[str, Any], Path]:
    """The specification of a caller's bundle, made ours, and the host's path of its root.

    Raises:
        InvalidSpecError: it is not there, not readable, or holds what no runtime here would enforce.
    """
    place = Path(directory)
    if not place.is_absolute() or ".." in place.parts:
        raise InvalidSpecError(f"bundle {directory[:256]!r} is not an absolute path free of ..")
    spec = _read(place / "config.json")
    _refuse_unknown(spec)
    _refuse_shapeless(spec, f"bundle {directory}")
    root = place / str((spec.get("root") or {}).get("path") or "")
    if not root.is_dir():
        raise InvalidSpecError(f"bundle {directory}: its root {root} is not a directory")
    process = spec.get("process") or {}
    if not process.get("args"):
        raise InvalidSpecError(f"bundle {directory}: process.args names no program to run")
    if process.get("terminal"):
        raise InvalidSpecError(f"bundle {directory}: process.terminal is set, which a bundle cannot have yet")
    spec["root"] = {**spec["root"], "path": "rootfs"}
    spec["linux"] = {**(spec.get("linux") or {}), "cgroupsPath": cgroups_path}
    return spec, root


def foreign(foreign: Mapping[str, Any], cgroups_path: str, *, mounted: bool) -> dict[str, Any]:
    """The specification that a client of containerd's API gave, which is run as it is.

    Args:
        foreign: what is on record of its container.
        cgroups_path: for one that names none.
        mounted: whether the client has given the root as mounts, which are then at the bundle's root.

    Raises:
        InvalidSpecError: it is none.
    """
    try:
        spec = json.loads(base64.b64decode(foreign["spec"]["value"]))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise InvalidSpecError(f"container: its specification cannot be read: {error!r}") from error
    _refuse_shapeless(spec, "container: its specification")
    if not (spec.get("process") or {}).get("args"):
        raise InvalidSpecError("container: its specification names no program to run")
    if mounted:
        spec["root"] = {**(spec.get("root") or {}), "path": "rootfs"}
    linux = spec.get("linux") or {}
    spec["linux"] = {**linux, "cgroupsPath": _cgroup(linux.get("cgroupsPath") or cgroups_path)}
    return dict(spec)


def _refuse_shapeless(spec: Any, what: str) -> None:
    """What we look into ourselves has to be what it is for the runtime, which says so only afterwards."""
    if not isinstance(spec, dict):
        raise InvalidSpecError(f"{what} is not an object")
    for name in ("process", "root", "linux", "annotations"):
        if not isinstance(spec.get(name) or {}, dict):
            raise InvalidSpecError(f"{what}: {name} is not an object")
    namespaces = (spec.get("linux") or {}).get("namespaces")
    for name, found in (("mounts", spec.get("mounts")), ("linux.namespaces", namespaces)):
        entries = found or []
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise InvalidSpecError(f"{what}: {name} is not a list of objects")


def _cgroup(said: Any) -> str:
    """A client's cgroup. What is relative would be below that of whoever calls the runtime: it is not."""
    path = PurePosixPath("/", str(said))
    if ".." in path.parts or len(path.parts) < 2 or "\0" in str(path):
        raise InvalidSpecError(f"container: linux.cgroupsPath {said!r} names no group of its own")
    return str(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except OSError as error:
        raise InvalidSpecError(f"bundle: {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidSpecError(f"bundle: {path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidSpecError(f"bundle: {path} is not an object")
    return found


def _refuse_unknown(spec: Mapping[str, Any]) -> None:
    for place, known in _KNOWN.items():
        part = spec.get(place) if place else spec
        if part is None:
            continue
        if not isinstance(part, Mapping):
            raise InvalidSpecError(f"bundle: {place} is not an object")
        unknown = sorted(set(part) - known)
        if unknown:
            name = f"{place}.{unknown[0]}" if place else unknown[0]
            raise InvalidSpecError(
                f"bundle: {name[:128]} is not enforced by the runtimes of this host; remove it"
            )
