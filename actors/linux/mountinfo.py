"""What is mounted: /proc/self/mountinfo, read (proc_pid_mountinfo(5))."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")
_KERNELS_OWN = frozenset({
    "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "efivarfs",
    "fusectl", "mqueue", "proc", "pstore", "rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One line of /proc/self/mountinfo (proc_pid_mountinfo(5))."""

    mount_id: int
    parent_id: int
    device: int  # what stat(2) calls st_dev
    root: str
    target: str
    options: tuple[str, ...]
    propagation: tuple[str, ...]
    type: str
    source: str
    super_options: tuple[str, ...]


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text


def parse_mountinfo(text: str) -> list[MountPoint]:
    """The lines of a mountinfo file, in its order: a mount comes after the one it stands on."""
    return [_parse_line(line) for line in text.split("\n") if line]


def _parse_line(line: str) -> MountPoint:
    fields = line.split(" ")
    dash = fields.index("-", 6)
    fstype, source, super_options = fields[dash + 1 : dash + 4]
    return MountPoint(
        mount_id=int(fields[0]),
        parent_id=int(fields[1]),
        device=os.makedev(*map(int, fields[2].split(":"))),
        root=_unescape(fields[3]),
        target=_unescape(fields[4]),
        options=tuple(fields[5].split(",")),
        propagation=tuple(fields[6:dash]),
        type=fstype,
        source=_unescape(source),
        super_options=tuple(_unescape(super_options).split(",")),
    )


def kernel_devices(pid: int) -> frozenset[int]:
    """Devices of those mounts of a process whose files are no files, but the kernel's words.

    Raises:
        OSError: it has ended.
    """
    text = os.fsdecode(Path(f"/proc/{pid}/mountinfo").read_bytes())
    return frozenset(point.device for point in parse_mountinfo(text) if point.type in _KERNELS_OWN)


def mount_points() -> list[MountPoint]:
    """What is mounted in the mount namespace of this process."""
    return parse_mountinfo(_mountinfo())


def _mountinfo() -> str:
    return os.fsdecode(Path("/proc/self/mountinfo").read_bytes())


def mounted_below(path: str) -> list[MountPoint]:
    """The mounts on `path` and beneath it, in an order in which they can be unmounted.

    `path` is absolute and without symbolic links, as the kernel gives it. Each container asks when it goes,
    and there are lines of all others: only those that matter are read as a whole.
    """
    prefix = path.rstrip("/") + "/"
    lines = _mountinfo().split("\n")
    return [_parse_line(line) for line in reversed(lines) if _is_below(line, path, prefix)]


def _is_below(line: str, path: str, prefix: str) -> bool:
    target = _unescape(line.split(" ", 5)[4]) if line else ""
    return target == path or target.startswith(prefix)


def is_mount_point(path: str) -> bool:
    """Whether anything is mounted exactly there (bind mounts of files included)."""
    return any(point.target == path for point in mount_points())
