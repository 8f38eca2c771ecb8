"""Events: the journal of what happened, and everyone who follows it.

States: the journal on disk; in memory only who follows, and how far each has been served. An event is
durable before anyone hears of it, and happens once for each key. Restarted by the supervisor, always;
followers come back by themselves with the number they had reached.
"""

import time
from dataclasses import dataclass
from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.tracing import TRACE
from storage.backup import backup_path
from storage.journal import Event, Journal, NewEvent
from transport.errors import RemoteError

BATCH = 500  # events read at once for one follower
TRIM_EVERY = 1000  # appends between two looks at the size of the journal
SECOND = 1_000_000_000
MOST_RECENT = 1000  # events that one answer has


@dataclass(slots=True)
class _Follower:
    """A subscription; `seq` is the last event that it has been served, or that did not concern it."""

    call: Call
    wish: m.EventsSubscribe
    seq: int


class EventsActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "events"

    def started(self) -> None:
        """Open the journal."""
        self._journal = Journal(self.settings.root / "events.db")
        self._followers: list[_Follower] = []
        self._appended = 0
        self._last = self._journal.last_seq

    def stopping(self) -> None:
        """Close the journal in order."""
        self._journal.close()
        self.finish()

    def events_publish(self, body: m.EventsPublish, call: Call) -> dict[str, Any]:
        """Append, then serve the followers. Answer: of the first."""
        trace = {TRACE: call.cause.trace} if call.cause.trace else {}
        first = m.NewEvent(body.topic, body.key, body.body, body.at)
        events = [
            NewEvent(body.namespace, one.topic, {**one.body, **trace}, one.at, one.key)
            for one in (first, *body.further)
        ]
        found = self._journal.append_many(events)
        fresh = [(seq, event) for (seq, new), event in zip(found, events, strict=True) if new]
        for seq, event in fresh:
            self._appended += 1
            self._last = seq
            self.host.meter.count("events")
            self.host.meter.took("event_delay", time.time() - event.at / SECOND)
            if self._appended % TRIM_EVERY == 0:
                self._journal.trim(self.settings.events_keep)
        if fresh:
            for follower in self._followers:
                self._serve(follower)
            self._measure()
        seq, new = found[0]
        return {"seq": seq, "new": new}

    def events_subscribe(self, body: m.EventsSubscribe, call: Call) -> Later:
        """Serve what is there; then end, or stay."""
        follower = _Follower(call, body, body.after)
        missed = self._journal.missed(body.after) if body.after else 0
        if missed:
            call.event({"gap": missed}, self._journal.first_seq - 1)
        self._followers = [one for one in self._followers if one.call.open]
        if body.follow:
            self._followers.append(follower)
        self._serve(follower)
        self._measure()
        return LATER

    def _measure(self) -> None:
        behind = [self._last - one.seq for one in self._followers if one.call.open]
        self.host.meter.level("event_followers", len(behind))
        self.host.meter.level("event_lag", max(behind, default=0))

    def events_recent(self, body: m.EventsRecent, _: Call) -> dict[str, Any]:
        """The end of the journal."""
        number = min(body.number, MOST_RECENT)
        events = self._journal.read(max(0, self._journal.last_seq - number), number)
        return {"events": [_described(event) for event in events]}

    def events_check(self, _body: m.EventsCheck, _: Call) -> dict[str, Any]:
        """The journal's file."""
        return {"problems": self._journal.check()}

    def events_backup(self, body: m.EventsBackup, _: Call) -> None:
        """A copy of the journal."""
        self._journal.backup(backup_path(body.path))

    def credited(self, call: Call) -> None:
        """A follower takes more."""
        for follower in self._followers:
            if follower.call is call:
                self._serve(follower)
                self._measure()

    def _serve(self, follower: _Follower) -> None:
        wish, call = follower.wish, follower.call
        while call.open and call.credit > 0:
            events = self._journal.read(
                follower.seq,
                min(BATCH, call.credit),
                namespace=wish.namespace or None,
                since_time=wish.since or None,
            )
            for event in events:
                follower.seq = event.seq
                if _concerns(wish, event):
                    call.event(_described(event), event.seq)
            if not events:
                break
        if not wish.follow:
            self._end(follower)

    def _end(self, follower: _Follower) -> None:
        if follower.call.credit <= 0:
            text = "more events than credit; ask again after the last one that came"
            follower.call.fail(RemoteError("overloaded", text, outcome="done"))
        else:
            last = {"instance": self._journal.instance, "last": self._journal.last_seq}
            follower.call.reply(last)


def _concerns(wish: m.EventsSubscribe, event: Event) -> bool:
    if wish.topic and not event.topic.startswith(wish.topic):
        return False
    return not wish.container_id or wish.container_id in (
        event.body.get("container_id"),
        event.body.get("id"),
    )


def _described(event: Event) -> dict[str, Any]:
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
