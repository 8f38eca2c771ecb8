"""Which address comes next. Pure."""

import ipaddress
from collections.abc import Callable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def next_free(
    subnet: str, within: str, gateway: str, last: str, is_taken: Callable[[str], bool]
) -> Address | None:
    """The first address of `within` after `last` (round the end) that is not taken; None when all are.

    The subnet's own address, its broadcast address and the gateway are never given out. To begin after
    the last one given keeps an address unused for as long as possible after its owner has gone: neighbours
    remember.
    """
    net, space = ipaddress.ip_network(subnet), ipaddress.ip_network(within)
    first, count = int(space.network_address), space.num_addresses
    forbidden = {int(net.network_address)} | ({int(net.broadcast_address)} if net.version == 4 else set())
    forbidden |= {int(ipaddress.ip_address(gateway))} if gateway else set()
    start = int(ipaddress.ip_address(last)) + 1 - first if last else 0
    for step in range(count):
        number = first + (start + step) % count
        if number not in forbidden and not is_taken(str(found := type(net.network_address)(number))):
            return found
    return None
