"""What a new supervisor is told: all that lives or sleeps, in messages of bearable size. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from actors.zygote.children import Child
from actors.zygote.control import MAX_DATAGRAM

MANY: Final = 200  # children told of in one message, at most,
ROOM: Final = MAX_DATAGRAM - 1024  # and bytes of it that are for them, unless there is only one


def handover(
    living: Iterable[Child], asleep: Iterable[Child], incarnations: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Those who live, those who sleep (their pid is 0), who has had which name; the last one says so."""
    others = [child.to_dict() for child in living]
    others += [{**child.to_dict(), "pid": 0} for child in asleep]
    for some in _in_parts(others):
        yield {"ev": "adopt", "children": some}
    known = list(incarnations.items())
    for first in range(0, len(known), MANY):
        yield {"ev": "incarnations", "incarnations": dict(known[first : first + MANY])}
    yield {"ev": "children"}


def _in_parts(children: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """As many at once as a message has room for; what one of them was told may fill most of it."""
    part: list[Mapping[str, Any]] = []
    size = 0
    for child in children:
        own = len(json.dumps(child))
        if part and (len(part) == MANY or size + own > ROOM):
            yield part
            part, size = [], 0
        part.append(child)
        size += own
    if part:
        yield part
