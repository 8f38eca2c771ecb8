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
EVERY = frozenset(_ALL)


def of_mask(mask: int) -> frozenset[str]:
    """The names of the capabilities whose bits are set, as /proc/PID/status shows them."""
    return frozenset(name for number, name in enumerate(_ALL) if mask >> number & 1)


def chosen(
    add: Iterable[str], drop: Iterable[str], *, privileged: bool = False, ours: frozenset[str] = EVERY
) -> tuple[str, ...]:
    """The bounding set. `ALL` adds or drops all that are `ours`: the daemon cannot give what it has not.

    What is named by itself counts more than `ALL`, whichever way.

    Raises:
        InvalidSpecError: a name that there is not, or one to add that is not ours.
    """
    added, dropped = _named(add), _named(drop)
    missing = sorted(added - ours - {"ALL"})
    if missing:
        raise InvalidSpecError(f"capability {missing[0]} cannot be added: actord itself runs without it")
    found = set(ours if privileged or "ALL" in added else CAPABILITIES)
    if "ALL" in dropped:
        found = set()
    found |= added - {"ALL"}
    found -= dropped - {"ALL"}
    return tuple(name for name in _ALL if name in found)


def _named(words: Iterable[str]) -> set[str]:
    found = set()
    for word in words:
        name = word.upper()
        name = name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}"
        if name != "ALL" and name not in EVERY:
            raise InvalidSpecError(f"capability {word[:64]!r} is not one that there is")
        found.add(name)
    return found
