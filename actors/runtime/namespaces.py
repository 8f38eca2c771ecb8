"""Namespaces, the kernel settings that belong to them, and id mappings. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from actors.runtime import id_ranges
from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Wishes

_PING_WITHOUT_CAPABILITY = "net.ipv4.ping_group_range"
_GROUPS_THAT_PING = 2147483647
_OF_IPC = re.compile(
    r"kernel\.(msgmax|msgmnb|msgmni|sem|shm\w+|msg_next_id|sem_next_id|shm_next_id)\Z|fs\.mqueue\."
)
_OF_NETWORK = re.compile(r"net\.")
_OF_UTS = re.compile(r"kernel\.(hostname|domainname)\Z")


def listed(
    wish: Wishes, network_path: str, *, host_network: bool, user_path: str = ""
) -> Iterator[dict[str, str]]:
    """`linux.namespaces`. What is shared with the host is not listed."""
    shared = {"pid": wish.pid, "ipc": wish.ipc, "uts": wish.uts}
    yield from ({"type": name} for name in ("pid", "ipc", "uts", "mount") if shared.get(name) != "host")
    if user_path:
        yield {"type": "user", "path": user_path}
    if network_path:
        yield {"type": "network", "path": network_path}
    elif not host_network:
        yield {"type": "network"}


def refuse_sharing(wish: Wishes) -> None:
    """Refuse what a user namespace of its own excludes: file systems of the host's namespaces.

    Raises:
        InvalidSpecError: it names the namespace that is to be shared.
    """
    if id_ranges.parse(wish.userns) is None:
        if any("idmap" in one.options for one in wish.mounts):
            raise InvalidSpecError("mount option idmap shows owners as --userns maps them: give that too")
        return
    mode = str(wish.network.get("mode", ""))
    for kind, shared in (("pid", wish.pid), ("ipc", wish.ipc), ("network", mode)):
        if shared:
            raise InvalidSpecError(
                f"userns and {kind} {shared[:64]} exclude each other: who is not root on the host may not "
                "mount what belongs to that namespace; leave one of them out"
            )


def sysctls(wish: Wishes, *, host_network: bool) -> dict[str, str]:
    """`linux.sysctl`: only settings of the container's own namespaces.

    Raises:
        InvalidSpecError: a setting that would be the host's.
    """
    ours = (
        (_OF_IPC, wish.ipc != "host"),
        (_OF_NETWORK, not host_network),
        (_OF_UTS, wish.uts != "host"),
    )
    for name, value in wish.sysctls.items():
        if not any(own and pattern.match(name) for pattern, own in ours):
            raise InvalidSpecError(
                f"sysctl {name[:64]!r} does not belong to a namespace of the container's own"
            )
        if "\0" in value or "/" in name:
            raise InvalidSpecError(f"sysctl {name[:64]!r} is malformed: write net.ipv4.ip_forward=1")
    found = id_ranges.parse(wish.userns)
    groups = _GROUPS_THAT_PING if found is None else found.size - 1
    defaults: Mapping[str, str] = {} if host_network else {_PING_WITHOUT_CAPABILITY: f"0 {groups}"}
    return {**defaults, **wish.sysctls}


def id_mappings(userns: str) -> dict[str, Any]:
    """`uidMappings` and `gidMappings`, for a container that has a user namespace."""
    found = id_ranges.parse(userns)
    if found is None:
        return {}
    return {
        "uidMappings": [{"containerID": 0, "hostID": found.uid, "size": found.size}],
        "gidMappings": [{"containerID": 0, "hostID": found.gid, "size": found.size}],
    }
