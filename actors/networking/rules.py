"""The packet filter's rules, as text for nft(8). Pure: the whole table from what is wanted, every time.

One table of actord's own, put in place of itself in one transaction: there is no moment without rules, doing
it twice is doing it once, and nobody else's rules are read or written. What the chains are for:

- early: no packet of a container may claim to go to the host's loopback, which `route_localnet` would allow.
- published: a packet to one of this host's own addresses and a published port goes to the container.
- postrouting: what leaves the host has the host's address; so has what comes to a container from the host's
  loopback, or from a container through a published port, since the answer must come back this way.
- forward: within a network all is allowed, between networks nothing, and into one only published ports.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network that packets are filtered for."""

    interface: str
    subnets: Sequence[str]
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A port of the host, at one address or (empty) at all, and what is behind it."""

    protocol: str
    host: str
    host_port: int
    address: str
    port: int


def ruleset(table: str, bridges: Sequence[Bridge], published: Iterable[Published]) -> str:
    """What nft reads: the table replaced by this one; without any bridge, removed."""
    replace = f"table inet {table}\ndelete table inet {table}\n"
    if not bridges:
        return replace
    everywhere = sorted(published, key=lambda one: (one.protocol, one.host_port, one.host, one.address))
    parts = [*_maps(everywhere), *_sets(bridges), *_CHAINS]
    return f"{replace}table inet {table} {{\n" + "\n".join(parts) + "\n}\n"


def _maps(published: Sequence[Published]) -> list[str]:
    """A map for each of: one host address or all, IPv4 or IPv6."""
    found = []
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        mine = [one for one in published if (":" in one.address) == (version == 6)]
        anywhere = [f"{one.protocol} . {one.host_port} : {_target(one)}" for one in mine if not one.host]
        at = [f"{one.protocol} . {one.host} . {one.host_port} : {_target(one)}" for one in mine if one.host]
        found += [
            _named(
                "map", f"anywhere{version}", f"inet_proto . inet_service : {kind} . inet_service", anywhere
            ),
            _named("map", f"at{version}", f"inet_proto . {kind} . inet_service : {kind} . inet_service", at),
        ]
    return found


def _target(one: Published) -> str:
    return f"{one.address} . {one.port}"


def _sets(bridges: Sequence[Bridge]) -> list[str]:
    names = [f'"{one.interface}"' for one in bridges]
    closed = [f'"{one.interface}"' for one in bridges if one.internal]
    open_ = [subnet for one in bridges if not one.internal for subnet in one.subnets]
    v4, v6 = ([one for one in open_ if (":" in one) == six] for six in (False, True))
    return [
        _named("set", "bridges", "ifname", names),
        _named("set", "internal", "ifname", closed),
        _named("set", "same", "ifname . ifname", [f"{name} . {name}" for name in names]),
        _named("set", "inside4", "ipv4_addr", v4, "flags interval"),
        _named("set", "inside6", "ipv6_addr", v6, "flags interval"),
    ]


def _named(what: str, name: str, kind: str, elements: Sequence[str], *more: str) -> str:
    lines = [f"type {kind}", *more]
    if elements:
        lines.append(f"elements = {{ {', '.join(elements)} }}")
    return f"  {what} {name} {{ {'; '.join(lines)}; }}"


_CHAINS: Final = (
    "  chain early { type filter hook prerouting priority raw; policy accept;",
    "    iifname @bridges ip daddr 127.0.0.0/8 drop",
    "  }",
    "  chain published {",
    "    fib daddr type != local return",
    "    meta nfproto ipv4 dnat ip to meta l4proto . ip daddr . th dport map @at4",
    "    meta nfproto ipv4 dnat ip to meta l4proto . th dport map @anywhere4",
    "    meta nfproto ipv6 dnat ip6 to meta l4proto . ip6 daddr . th dport map @at6",
    "    meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @anywhere6",
    "  }",
    "  chain prerouting { type nat hook prerouting priority dstnat; policy accept;",
    "    jump published",
    "  }",
    "  chain output { type nat hook output priority -100; policy accept;",
    "    jump published",
    "  }",
    "  chain postrouting { type nat hook postrouting priority srcnat; policy accept;",
    "    ip saddr @inside4 oifname != @bridges masquerade",
    "    ip6 saddr @inside6 oifname != @bridges masquerade",
    "    ip saddr 127.0.0.0/8 oifname @bridges masquerade",
    "    ip saddr @inside4 ct status dnat masquerade",
    "    ip6 saddr @inside6 ct status dnat masquerade",
    "  }",
    "  chain forward { type filter hook forward priority filter; policy accept;",
    "    iifname . oifname @same accept",
    "    oifname @internal drop",
    "    iifname @internal drop",
    "    ct state established,related accept",
    "    ct status dnat accept",
    "    oifname @bridges drop",
    "  }",
)
