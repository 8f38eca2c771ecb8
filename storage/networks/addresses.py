"""Which address comes next. Pure."""

import ipaddress
from collections.abc import Collection

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def next_free(subnet: str, within: str, taken: Collection[str], last: str) -> Address | None:
    """The first address of `within` after `last` (round the end) that is not taken; None when all are.

    The subnet's own address and its broadcast address are never given out. To begin after the last one
    given keeps an address unused for as long as possible after its owner has gone: neighbours remember.
    """
    net, space = ipaddress.ip_network(subnet), ipaddress.ip_network(within)
    first, count = int(space.network_address), space.num_addresses
    forbidden = {int(net.network_address)} | ({int(net.broadcast_address)} if net.version == 4 else set())
    used = {int(ipaddress.ip_address(one)) for one in taken if one} | forbidden
    start = int(ipaddress.ip_address(last)) + 1 - first if last else 0
    for step in range(min(count, len(used) + 1)):
        number = first + (start + step) % count
        if number not in used:
            return type(net.network_address)(number)
    return None
