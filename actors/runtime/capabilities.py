"""Capabilities: the set that a container gets, from the default and what the caller adds and drops. Pure."""

from collections.abc import Iterable

from actors.runtime.errors import InvalidSpecError

# containerd's default set less MKNOD, NET_RAW and AUDIT_WRITE: device nodes are denied anyway, ping works
# through a sysctl, and the audit log belongs to the host.
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
# In the order of their numbers (linux/capability.h).
_ALL = tuple(
    f"CAP_{name}"
    for name in [
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "KILL",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "LINUX_IMMUTABLE",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_ADMIN",
        "NET_RAW",
        "IPC_LOCK",
        "IPC_OWNER",
        "SYS_MODULE",
        "SYS_RAWIO",
        "SYS_CHROOT",
        "SYS_PTRACE",
        "SYS_PACCT",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_NICE",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "MKNOD",
        "LEASE",
        "AUDIT_WRITE",
        "AUDIT_CONTROL",
        "SETFCAP",
        "MAC_OVERRIDE",
        "MAC_ADMIN",
        "SYSLOG",
        "WAKE_ALARM",
        "BLOCK_SUSPEND",
        "AUDIT_READ",
        "PERFMON",
        "BPF",
        "CHECKPOINT_RESTORE",
    ]
)
LAST = len(_ALL) - 1


def chosen(
    add: Iterable[str], drop: Iterable[str], *, privileged: bool = False, last: int = LAST
) -> tuple[str, ...]:
    """The bounding set. `ALL` adds or drops all; `last` is the number of the kernel's last capability.

    What is named by itself counts more than `ALL`, whichever way.

    Raises:
        InvalidSpecError: a name that there is not, or that this kernel has not.
    """
    known = _ALL[: last + 1]
    added, dropped = _named(add, known), _named(drop, known)
    found = set(known if privileged else CAPABILITIES)
    if "ALL" in added:
        found |= set(known)
    if "ALL" in dropped:
        found = set()
    found |= added - {"ALL"}
    found -= dropped - {"ALL"}
    return tuple(name for name in known if name in found)


def _named(words: Iterable[str], known: tuple[str, ...]) -> set[str]:
    found = set()
    for word in words:
        name = word.upper()
        name = name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        if name != "ALL" and name not in known:
            raise InvalidSpecError(f"capability {word[:64]!r} is not one that this kernel has")
        found.add(name)
    return found
