"""The network options of `run` and `create`, read into what `containers.create` takes."""

from __future__ import annotations

from cli.options import LARGEST, Given, Option, UsageError, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

OPTIONS = (
    Option(
        "--network --net",
        "network: NETWORK[,ip=A][,alias=N][,rate=R], host, none or container:NAME (with -p bridge; none)",
        value="NETWORK",
        many=True,
    ),
    Option(
        "-p --publish",
        "make a port reachable from outside: [IP:][HOST:]CONTAINER[/udp] (HOST: a free one)",
        value="PORT",
        many=True,
    ),
    Option("--network-alias", "a further name for it on its networks", value="NAME", many=True),
    Option("--dns", "a name server instead of actord's", value="ADDRESS", many=True),
    Option("--add-host", "a line of its /etc/hosts; also NAME=ADDRESS", value="NAME:ADDRESS", many=True),
)
_KEYS = ("ip", "ip6", "mac", "alias", "rate")
_UNITS = {"k": 1000, "m": 1000**2, "g": 1000**3}
MOST_PORTS = 1024  # in one range


def wish(session: Session, given: Given) -> dict[str, Any]:
    """How it is to be connected; empty for loopback only.

    Raises:
        UsageError: the options make no sense.
        RefusedError: there is no container of that name.
    """
    found = asked(given)
    kind, colon, name = found.get("mode", "").partition(":")
    if colon:
        found["mode"] = f"{kind}:{session.container(name)['id']}"
    return found


def asked(given: Given) -> dict[str, Any]:
    """The options alone. Raises UsageError."""
    names, ports = given.many("net"), given.many("publish")
    if ports and not names:
        names = ["bridge"]
    found: dict[str, Any] = {}
    special = [name for name in names if name in ("host", "none") or name.startswith("container:")]
    if special:
        if len(names) > 1 or ports:
            raise UsageError(f"--net {special[0]} goes with no other network and no --publish")
        if special[0] != "none":
            found["mode"] = special[0]
    elif names:
        found["networks"] = [connection(name, given.many("network-alias")) for name in names]
        found["ports"] = [port for text in ports for port in published(text)]
    if given.many("dns"):
        found["dns"] = given.many("dns")
    if given.many("add-host"):
        found["hosts"] = [_host(text) for text in given.many("add-host")]
    return {key: value for key, value in found.items() if value}


def connection(text: str, aliases: list[str]) -> dict[str, Any]:
    """`web,ip=10.0.0.5,rate=10m` as a connection. Raises UsageError."""
    name, *settings = text.split(",")
    found: dict[str, Any] = {"network": name}
    addresses, more = [], list(aliases)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or key not in _KEYS or not value:
            raise UsageError(f"--net {text}: {setting!r} is none of {', '.join(f'{key}=' for key in _KEYS)}")
        if key in ("ip", "ip6"):
            addresses.append(value)
        elif key == "alias":
            more.append(value)
        elif key == "rate":
            found["rate"] = rate(value)
        else:
            found["mac"] = value
    return {**found, **({"addresses": addresses} if addresses else {}), **({"aliases": more} if more else {})}


def rate(text: str) -> int:
    """Bytes per second, from `500k`, `10m` or `1g`. Raises UsageError."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in _UNITS else (text, "")
    if not is_number(number) or not 0 < int(number) * _UNITS.get(unit, 1) <= LARGEST:
        raise UsageError(f"a rate is bytes per second, such as 500k or 10m, not {text!r}")
    return int(number) * _UNITS.get(unit, 1)


def published(text: str) -> list[dict[str, Any]]:
    """`[IP:][HOST:]CONTAINER[/PROTOCOL]`, where HOST and CONTAINER may be ranges. Raises UsageError."""
    rest, _, protocol = text.partition("/")
    before, _, inside = rest.rpartition(":")
    host, _, outside = before.rpartition(":")
    if before and not host and "." in before:  # an address and no host port
        host, outside = before, ""
    container, wanted = _range(text, inside), _range(text, outside) if outside else []
    if wanted and len(wanted) != len(container):
        raise UsageError(f"--publish {text}: the two ranges are not of the same length")
    return [
        {
            "container_port": number,
            "host_port": wanted[index] if wanted else 0,
            "protocol": protocol or "tcp",
            "host": host.strip("[]"),
        }
        for index, number in enumerate(container)
    ]


def _range(text: str, ports: str) -> list[int]:
    first, _, last = ports.partition("-")
    if not is_number(first) or not is_number(last or first):
        raise UsageError(f"--publish wants [IP:][HOST:]CONTAINER[/udp], not {text!r}")
    begin, end = int(first), int(last or first)
    if not 0 < begin <= end <= 65535 or end - begin >= MOST_PORTS:
        raise UsageError(f"--publish {text}: ports are from 1 to 65535, at most {MOST_PORTS} in one range")
    return list(range(begin, end + 1))


def _host(text: str) -> tuple[str, str]:
    name, between, address = text.partition("=" if "=" in text else ":")
    if not name or not between or not address:
        raise UsageError(f"--add-host wants NAME:ADDRESS, not {text!r}")
    return address, name
