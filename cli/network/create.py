"""actr network create: make a network."""

from __future__ import annotations

from cli.options import Command, Given, Option, UsageError
from cli.table import print_json

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
    if session.json:
        print_json(found)
    else:
        print(found["name"])
    return 0


def options(pairs: dict[str, str]) -> dict[str, Any]:
    """What only one kind has, each as that kind wants it. Raises UsageError."""
    found: dict[str, Any] = dict(pairs)
    for key in NUMBERS:
        if key in found:
            if not pairs[key].isdecimal():
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
    arguments=("NETWORK",),
    options=(
        Option(
            "--kind",
            "bridge (the default), macvlan, vxlan or cni",
            value="KIND",
            choices=("bridge", "macvlan", "vxlan", "cni"),
        ),
        Option("--subnet", "its subnet; one of IPv4, one of IPv6", value="CIDR", many=True),
        Option("--gateway", "the host's address in a subnet", value="ADDRESS", many=True),
        Option("--range", "give addresses out of this part only", value="CIDR", many=True),
        Option("--ipv6", "choose an IPv6 subnet too"),
        Option("--internal", "let nothing out and nothing in"),
        Option("--mtu", "bytes of the largest packet (the kernel's choice)", value="BYTES"),
        Option("--parent", "of a macvlan: the host's interface", value="NAME"),
        Option("--opt", "vxlan: vni, port, local, remotes=A+B; macvlan: mode", value="K=V", many=True),
        Option("--config", "of a cni network: its configuration list", value="FILE"),
        Option("-l --label", "label of the network", value="K=V", many=True),
    ),
)
