"""Pages of the journal, as those who follow it are served. Pure.

A hundred followers are at the same place as a rule, where nothing is left but what has just happened. So a
page is read once for all of them, each of its events encoded once, and a filter looks at it once, however
many followers have that filter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

from actors.tracing import TRACE
from storage.journal import Event
from transport.codec import pack

MOST_EVENTS: Final = 500
MOST_BYTES: Final = 1 << 20  # after which a page ends
KEPT: Final = 64  # pages: followers may be in many places

Read = Callable[[int, int], Sequence[Event]]


class Filter(NamedTuple):
    """What concerns a follower; an empty field lets everything pass."""

    namespace: str = ""
    since: int = 0
    topic: str = ""
    container_id: str = ""

    def concerns(self, event: Event) -> bool:
        """Whether it passes."""
        if self.namespace and event.namespace != self.namespace:
            return False
        if event.at < self.since or not event.topic.startswith(self.topic):
            return False
        return not self.container_id or self.container_id in (
            event.body.get("container_id"),
            event.body.get("id"),
        )


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it was journalled, and as it travels."""

    event: Event
    packed: bytes


@dataclass(frozen=True)
class Page:
    """What follows a number.

    Attributes:
        last: the number of the last event that was looked at, whether it concerns the follower or not.
        told: those that do, in order.
        missing: how many of the numbers before the first that was looked at the journal no longer has.
    """

    last: int
    told: tuple[Told, ...]
    missing: int = 0

    @cached_property
    def gathered(self) -> bytes:
        """All of them in one body. They stay as they are in it: who wants the numbers need not read more."""
        numbers = [one.event.seq for one in self.told]
        return pack({"numbers": numbers, "events": [one.packed for one in self.told]})


class Pages:
    """Those of one journal, kept until `renew` says that there is more in it."""

    def __init__(self, read: Read) -> None:
        """`read` gives so many events after a number, at most."""
        self._read = read
        self._raw: dict[tuple[int, int], tuple[Told, ...]] = {}
        self._pages: dict[tuple[Filter, int, int], Page] = {}

    def renew(self) -> None:
        """Something has been appended."""
        self._raw.clear()
        self._pages.clear()

    def after(self, number: int, most: int, wanted: Filter) -> Page:
        """At most `most` events after `number`, less those that are not wanted."""
        key = (wanted, number, min(most, MOST_EVENTS))
        found = self._pages.get(key)
        if found is None:
            raw = self._raw_after(*key[1:])
            told = raw if wanted == Filter() else tuple(one for one in raw if wanted.concerns(one.event))
            first, last = (raw[0].event.seq, raw[-1].event.seq) if raw else (number + 1, number)
            found = Page(last, told, first - number - 1)
            _keep(self._pages, key, found)
        return found

    def _raw_after(self, number: int, most: int) -> tuple[Told, ...]:
        found = self._raw.get((number, most))
        if found is None:
            found = tuple(_page(self._read(number, most)))
            _keep(self._raw, (number, most), found)
        return found


def _keep(pages: dict[Any, Any], key: Any, page: Any) -> None:
    if len(pages) >= KEPT:
        pages.clear()
    pages[key] = page


def _page(events: Sequence[Event]) -> Sequence[Told]:
    """As many as a page has bytes for, one at least."""
    found, size = [], 0
    for event in events:
        if size > MOST_BYTES:
            break
        found.append(Told(event, pack(described(event))))
        size += len(found[-1].packed)
    return found


def described(event: Event) -> dict[str, Any]:
    """For the wire."""
    body = dict(event.body)
    trace = body.pop(TRACE, "")
    found = {
        "seq": event.seq,
        "namespace": event.namespace,
        "topic": event.topic,
        "at": event.at,
        "body": body,
    }
    return {**found, "trace": trace} if trace else found
