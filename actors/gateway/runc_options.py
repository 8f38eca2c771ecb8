"""Options of the runc runtime, packed beside a container or a task: honoured, or refused by name."""

import base64
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from google.protobuf.message import DecodeError

from transport.errors import RemoteError
from transport.grpc.interface import message

_OPTIONS: Final = "containerd.runc.v1.Options"
_NAMES: Final = ("io.containerd.runc.v2", "io.containerd.runc.v1", "io.containerd.runtime.v1.linux")
_REFUSED: Final = {
    "shim_cgroup": "there are no shims; the actor of a container is in the daemon's cgroup",
    "systemd_cgroup": (
        "the runtime makes its cgroups without systemd; "
        "for Docker Engine start dockerd with --exec-opt native.cgroupdriver=cgroupfs"
    ),
}


def refuse_other_runtime(name: str) -> None:
    """What is to be run by something else than runc or crun, which may be there to confine it better.

    Raises:
        RemoteError: it is; containerd, without that shim, says so at the same time and with the same status.
    """
    if name and name not in _NAMES:
        text = f"runtime {name[:128]!r} is not there: actord has {_NAMES[0]}, with runc or crun"
        raise RemoteError("internal", f"failed to start shim: {text}")


def program(packed: Any) -> str:
    """The runtime's program, if a container's options name one."""
    options = _options(packed.type_url, packed.value)
    return "" if options is None else str(options.binary_name)


def root(packed: Any) -> str:
    """Where the runtime keeps its state, by namespace; empty for our own place. Raises RemoteError."""
    options = _options(packed.type_url, packed.value)
    found = "" if options is None else str(options.root)
    if found and (not found.startswith("/") or ".." in PurePosixPath(found).parts or "\0" in found):
        raise RemoteError("invalid_argument", f"runc option root {found[:256]!r} is not an absolute path")
    return found


def for_task(packed: Any, foreign: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `tasks.create`: from the task's options, or without those from the container's.

    Raises:
        RemoteError: not_implemented for an option that cannot be had.
    """
    kept = foreign.get("options") or {"type_url": "", "value": ""}
    given = _options(packed.type_url, packed.value)
    options = given or _options(kept["type_url"], base64.b64decode(kept["value"]))
    if options is None:
        return {}
    for name, why in _REFUSED.items():
        if getattr(options, name):
            raise RemoteError("not_implemented", f"runc option {name} is not there: {why}")
    if given is not None and given.root and given.root != foreign.get("root"):
        raise RemoteError("not_implemented", "runc option root is the container's, not the task's")
    return {
        "no_pivot": options.no_pivot_root,
        "no_new_keyring": options.no_new_keyring,
        "io_uid": options.io_uid,
        "io_gid": options.io_gid,
    }


def _options(type_url: str, value: bytes) -> Any:
    """None for options of another runtime, or for none. Raises RemoteError."""
    if type_url.rpartition("/")[2] != _OPTIONS:
        return None
    try:
        return message(_OPTIONS).FromString(value)
    except DecodeError as error:
        raise RemoteError("invalid_argument", f"what is said to be {_OPTIONS} is not") from error
