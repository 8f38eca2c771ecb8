"""The words of mount(8), as flags of the system call (mount(2)). Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_MANDLOCK = 64
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_SILENT = 32768
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

_SET = {
    "bind": MS_BIND,
    "rbind": MS_BIND | MS_REC,
    "dirsync": MS_DIRSYNC,
    "lazytime": MS_LAZYTIME,
    "mand": MS_MANDLOCK,
    "noatime": MS_NOATIME,
    "nodev": MS_NODEV,
    "nodiratime": MS_NODIRATIME,
    "noexec": MS_NOEXEC,
    "nosuid": MS_NOSUID,
    "nosymfollow": MS_NOSYMFOLLOW,
    "relatime": MS_RELATIME,
    "remount": MS_REMOUNT,
    "ro": MS_RDONLY,
    "silent": MS_SILENT,
    "strictatime": MS_STRICTATIME,
    "sync": MS_SYNCHRONOUS,
}
_CLEAR = {
    "async": MS_SYNCHRONOUS,
    "atime": MS_NOATIME,
    "defaults": 0,
    "dev": MS_NODEV,
    "diratime": MS_NODIRATIME,
    "exec": MS_NOEXEC,
    "loud": MS_SILENT,
    "nolazytime": MS_LAZYTIME,
    "nomand": MS_MANDLOCK,
    "norelatime": MS_RELATIME,
    "nostrictatime": MS_STRICTATIME,
    "rw": MS_RDONLY,
    "suid": MS_NOSUID,
    "symfollow": MS_NOSYMFOLLOW,
}
_PROPAGATION = {
    f"{prefix}{name}": flag | recursion
    for name, flag in (
        ("private", MS_PRIVATE),
        ("shared", MS_SHARED),
        ("slave", MS_SLAVE),
        ("unbindable", MS_UNBINDABLE),
    )
    for prefix, recursion in (("", 0), ("r", MS_REC))
}
# What a bind mount takes only when it is remounted.
NEEDS_REMOUNT = (
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_NOSYMFOLLOW
)


@dataclass(frozen=True, slots=True)
class Options:
    """Mount options as the system call takes them."""

    flags: int
    propagation: int
    data: str


def parse_options(options: Iterable[str]) -> Options:
    """Words of mount(8) into flags, propagation flags and the file system's own option string.

    A later word wins over an earlier one. What is not known here is the file system's.
    """
    flags = propagation = 0
    data: list[str] = []
    for word in options:
        if word in _SET:
            flags |= _SET[word]
        elif word in _CLEAR:
            flags &= ~_CLEAR[word]
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        else:
            data.append(word)
    return Options(flags, propagation, ",".join(data))
