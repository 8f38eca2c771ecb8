"""Rules of others that stand in the way. Read, never changed: what is said is what a person can do. Pure."""

import re
from collections.abc import Iterator, Sequence

_TABLE = re.compile(r"table (\S+ \S+) \{")
_CHAIN = re.compile(r"\s+chain (\S+) \{")
_DROPPING = re.compile(r"\s+type filter hook forward priority [^;]+; policy drop;")
_FIREWALLD = "inet firewalld"
_OPEN = "goto filter_FWD_trusted"  # where an interface without a zone goes if the default zone is that one
_USERS = "DOCKER-USER"  # Docker's chain for rules of people, which it never changes


def blocking(ruleset: str, own: str, bridges: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Chains that drop what is forwarded unless told otherwise, as Docker's do, and what to do about it.

    A packet has to be accepted by every table, so ours cannot help. `ruleset` is what `nft list ruleset`
    prints; `own` names our table.
    """
    for table, text in _tables(ruleset):
        if table == _FIREWALLD:
            yield from _without_zone(text, bridges)
            continue
        closed = [bridge for bridge in bridges if not _accepted(text, bridge)]
        if not closed or table == f"inet {own}":
            continue
        chain = ""
        for line in text:
            found = _CHAIN.match(line)
            chain = found[1] if found else chain
            if _DROPPING.match(line):
                yield f"chain {table} {chain}", _advice(table, chain, text, closed)


def _without_zone(lines: Sequence[str], bridges: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Found where firewalld rejects what is forwarded from an interface that is in no zone of its own."""
    closed = [bridge for bridge in bridges if not any(f'"{bridge}"' in line for line in lines)]
    if closed and all(line.strip() != _OPEN for line in lines):
        commands = [f"firewall-cmd --permanent --zone=trusted --add-interface={one}" for one in closed]
        advice = "; ".join([*commands, "firewall-cmd --reload"])
        yield f"table {_FIREWALLD}", f"it rejects what networks send out; to let it pass: {advice}"


def _tables(ruleset: str) -> Iterator[tuple[str, list[str]]]:
    name, lines = "", list[str]()
    for line in ruleset.splitlines():
        found = _TABLE.match(line)
        if found:
            name, lines = found[1], []
        elif line == "}" and name:
            yield name, lines
        else:
            lines.append(line)


def _accepted(lines: Sequence[str], bridge: str) -> bool:
    """Whether there is a rule for each direction; where it stands is not looked at."""
    accepting = [line for line in lines if line.rstrip().endswith("accept")]
    return all(any(f'{way} "{bridge}"' in line for line in accepting) for way in ("iifname", "oifname"))


def _advice(table: str, chain: str, lines: Sequence[str], closed: Sequence[str]) -> str:
    program = {"ip filter": "iptables", "ip6 filter": "ip6tables"}.get(table)
    if any(found[1] == _USERS for found in map(_CHAIN.match, lines) if found):
        chain = _USERS
    if program:
        rules = [f"{program} -I {chain} {way} {one} -j ACCEPT" for one in closed for way in ("-i", "-o")]
    else:
        rules = [
            f"nft insert rule {table} {chain} {way} {one} accept"
            for one in closed
            for way in ("iifname", "oifname")
        ]
    return f"its policy drops what is forwarded to and from networks; to let it pass: {'; '.join(rules)}"
