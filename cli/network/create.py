"""actr network create: make a network."""

from __future__ import annotations

from cli.options import LABEL, Command, Given, Option, UsageError, is_number
from cli.table import print_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

NUMBERS = ("vni", "port")
LISTS = ("remotes",)


def run(session: Session, given: Given) -> int:
    """Make it, and print its name."""
    body: dict[str, Any] = {
        "name": given.arguments[0],
        "kind": given.text("kind", "bridge"),
        "subnets": given.many("subnet"),
        "gateways": given.many("gateway"),
        "ranges": given.many("range"),
        "parent": given.text("parent"),
        "mtu": int(given.number("mtu", 0)),
        "internal": given.flag("internal"),
        "ipv6": given.flag("ipv6"),
        "options": options(given.pairs("opt")),
        "labels": given.pairs("label"),
    }
    if given.flag("config"):
        with open(given.text("config"), encoding="utf-8") as file:  # noqa: PTH123  # pathlib is 4 ms
            body["options"]["config"] = file.read()
    found = session.ask("network", "network.create", body)
    print_result(session, found, [found["name"]])
    return 0


def options(pairs: dict[str, str]) -> dict[str, Any]:
    """What only one kind has, each as that kind wants it. Raises UsageError."""
    found: dict[str, Any] = dict(pairs)
    for key in NUMBERS:
        if key in found:
            if not is_number(pairs[key]):
                raise UsageError(f"--opt {key} wants a number, not {pairs[key]!r}")
            found[key] = int(pairs[key])
    for key in LISTS:
        if key in found:
            found[key] = [one for one in pairs[key].split("+") if one]
    return found


COMMAND = Command(
    "network create",
    "Make a network",
    run,
    arguments=("NAME",),
    options=(
        Option(
            "--kind",
            "bridge, macvlan, vxlan or cni (bridge)",
            value="KIND",
            choices=("bridge", "macvlan", "vxlan", "cni"),
        ),
        Option(
            "--subnet",
            "its subnet, at most one of IPv4 and one of IPv6 (a free one of IPv4)",
            value="CIDR",
            many=True,
        ),
        Option("--gateway", "the host's address in a subnet (the first)", value="ADDRESS", many=True),
        Option("--range", "give out addresses of this part of a subnet only (all)", value="CIDR", many=True),
        Option("--ipv6", "with a free subnet of IPv6, too"),
        Option("--internal", "let nothing out and nothing in, but between its containers"),
        Option("--mtu", "bytes of the largest packet (the kernel's choice)", value="BYTES"),
        Option("--parent", "of a macvlan: the interface of the host that it shares", value="NAME"),
        Option(
            "--opt", "of a vxlan: vni, port, local, remotes=A+B; of a macvlan: mode", value="K=V", many=True
        ),
        Option("--config", "of a cni network: the file with its configuration list", value="FILE"),
        LABEL,
    ),
)
