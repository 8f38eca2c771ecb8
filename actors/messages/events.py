"""The journal of what happened: events."""

from dataclasses import dataclass, field

from actors.messages.declare import Json, Number, operation


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is told with another."""

    topic: str
    key: str
    body: Json
    at: Number


@operation("events.publish", "events", repeatable=True)
@dataclass(frozen=True, slots=True)
class EventsPublish:
    """Journal an event and announce it. `key` makes it happen once, however often it is sent.

    Attributes:
        further: at most 1,000 events of the same namespace that follow it, in the same commit.
    """

    namespace: str
    topic: str
    key: str
    body: Json
    at: Number
    further: list[NewEvent] = field(default_factory=list)


@operation("events.subscribe", "events", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class EventsSubscribe:
    """Events after sequence number `after` (or since a time), as EVT; with `follow`, also those to come.

    An EVT with `gap` says that the journal no longer has what lies between. Answer: `instance`, `last`. To
    follow after a number that is not there yet is failed_precondition, with both in its details.
    With `gather`, a next message comes so many milliseconds (at most 10,000) after the last, with all that
    has happened meanwhile: an EVT with `numbers` and, in the same order, `events`, each of them packed by
    itself, as it would have come alone. Credit, at most 20,000 then, counts events all the same.
    """

    namespace: str = ""
    after: Number = 0
    since: Number = 0
    topic: str = ""
    container_id: str = ""
    follow: bool = False
    gather: Number = 0


@operation("events.recent", "events", repeatable=True)
@dataclass(frozen=True, slots=True)
class EventsRecent:
    """Answer: `events`, the newest of all namespaces, at most 1000, in order."""

    number: Number = 100


@operation("events.check", "events", repeatable=True)
@dataclass(frozen=True, slots=True)
class EventsCheck:
    """Answer: `problems` of the journal."""


@operation("events.backup", "events", repeatable=True)
@dataclass(frozen=True, slots=True)
class EventsBackup:
    """Write a consistent copy of the journal to an absolute path."""

    path: str
