"""Namespaces, the kernel settings that belong to them, and id mappings. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Wishes

_PING_WITHOUT_CAPABILITY = {"net.ipv4.ping_group_range": "0 2147483647"}
_OF_IPC = re.compile(
    r"kernel\.(msgmax|msgmnb|msgmni|sem|shm\w+|msg_next_id|sem_next_id|shm_next_id)\Z|fs\.mqueue\."
)
_OF_NETWORK = re.compile(r"net\.")
_OF_UTS = re.compile(r"kernel\.(hostname|domainname)\Z")
_MAPPING = re.compile(r"(\d{1,10}):(\d{1,10})\Z", re.ASCII)
_LARGEST_ID = (1 << 32) - 2


def listed(wish: Wishes, network_path: str, *, host_network: bool) -> Iterator[dict[str, str]]:
    """`linux.namespaces`. What is shared with the host is not listed."""
    shared = {"pid": wish.pid, "ipc": wish.ipc, "uts": wish.uts}
    yield from ({"type": name} for name in ("pid", "ipc", "uts", "mount") if shared.get(name) != "host")
    if wish.userns:
        yield {"type": "user"}
    if network_path:
        yield {"type": "network", "path": network_path}
    elif not host_network:
        yield {"type": "network"}


def mapping(userns: str) -> tuple[int, int] | None:
    """First id on the host and how many, from `HOST:SIZE`; None for the host's own user namespace.

    Raises:
        InvalidSpecError: it is neither empty nor such a pair, or would map root to root.
    """
    if not userns:
        return None
    found = _MAPPING.match(userns)
    first, size = (int(found[1]), int(found[2])) if found else (0, 0)
    if not first or not size or first + size > _LARGEST_ID:
        raise InvalidSpecError(
            f"userns {userns[:64]!r} is not HOST:SIZE, the first id on the host (not 0) and how many, "
            "for example 100000:65536"
        )
    return first, size


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
    defaults: Mapping[str, str] = {} if host_network or wish.userns else _PING_WITHOUT_CAPABILITY
    return {**defaults, **wish.sysctls}


def id_mappings(userns: str) -> dict[str, Any]:
    """`uidMappings` and `gidMappings`, for a container that has a user namespace."""
    found = mapping(userns)
    if found is None:
        return {}
    entry = {"containerID": 0, "hostID": found[0], "size": found[1]}
    return {"uidMappings": [entry], "gidMappings": [dict(entry)]}
