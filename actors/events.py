"""Events: the journal of what happened, and everyone who follows it.

States: the journal on disk; in memory only who follows, and how far each has been served. An event is
durable before anyone hears of it, and happens once for each key. Restarted by the supervisor, always;
followers come back by themselves with the number they had reached.
"""

import time
from dataclasses import dataclass
from typing import Any, Final

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.event_pages import MOST_EVENTS, Filter, Page, Pages, described
from actors.tracing import TRACE
from storage.backup import backup_path
from storage.journal import Journal, NewEvent
from transport.errors import RemoteError

TRIM_EVERY = 1000  # numbers between two looks at the size of the journal, whoever appended what
SECOND = 1_000_000_000
MOST_RECENT = 1000  # events that one answer has
MOST_FURTHER: Final = 1000  # events that are published with another
MOST_GATHER: Final = 10_000  # milliseconds
MOST_CREDIT: Final = 20_000  # events under way to one who has them gathered: each message may be large
CROWDED_PAUSE: Final = 0.005  # seconds until the router has taken some of what waits for it


@dataclass(slots=True, eq=False)
class _Follower:
    """A subscription.

    Attributes:
        seq: the last event that it has been served, or that did not concern it.
        due: when it may be served again.
    """

    call: Call
    filter: Filter
    seq: int
    follow: bool
    gather: float  # seconds
    due: float = 0.0


class EventsActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "events"

    def started(self) -> None:
        """Open the journal."""
        self._journal = Journal(self.settings.root / "events.db")
        self._pages = Pages(self._journal.read)
        self._followers: list[_Follower] = []
        self._last = self._journal.last_seq
        self._wakes_at = float("inf")

    def stopping(self) -> None:
        """Close the journal in order."""
        self._journal.close()
        self.finish()

    def events_publish(self, body: m.EventsPublish, call: Call) -> dict[str, Any]:
        """Append, then serve the followers. Answer: of the first."""
        if len(body.further) > MOST_FURTHER:
            text = f"{len(body.further)} further events: publish at most {MOST_FURTHER} with another"
            raise RemoteError("invalid_argument", text)
        trace = {TRACE: call.cause.trace} if call.cause.trace else {}
        first = m.NewEvent(body.topic, body.key, body.body, body.at)
        events = [
            NewEvent(body.namespace, one.topic, {**one.body, **trace}, one.at, one.key)
            for one in (first, *body.further)
        ]
        found = self._journal.append_many(events)
        fresh = [event.at for (_, new), event in zip(found, events, strict=True) if new]
        if fresh:
            before, self._last = self._last, max(seq for seq, _ in found)
            self._pages.renew()
            self._note(fresh)
            if before // TRIM_EVERY != self._last // TRIM_EVERY:
                self._journal.trim(self.settings.events_keep)
            self._serve()
        seq, new = found[0]
        return {"seq": seq, "new": new}

    def _note(self, times: list[int]) -> None:
        self.host.meter.count("events", len(times))
        for at in times:
            self.host.meter.took("event_delay", time.time() - at / SECOND)

    def events_subscribe(self, body: m.EventsSubscribe, call: Call) -> Later:
        """Serve what is there; then end, or stay."""
        if body.gather and not (body.gather <= MOST_GATHER and call.credit <= MOST_CREDIT):
            text = f"gather is at most {MOST_GATHER} ms, and with it credit at most {MOST_CREDIT} events"
            raise RemoteError("invalid_argument", text)
        if body.follow and body.after > self._last:
            raise self._not_there_yet(body.after)
        missed = self._journal.missed(body.after) if body.after else 0
        if missed:
            call.event({"gap": missed}, body.after + missed)
        wanted = Filter(body.namespace, body.since, body.topic, body.container_id)
        self._followers.append(_Follower(call, wanted, body.after + missed, body.follow, body.gather / 1000))
        self._serve()
        return LATER

    def _not_there_yet(self, number: int) -> RemoteError:
        """It would be silent until then: a number of another journal, or of this one before a restore."""
        text = f"there is no event {number} yet, the last one is {self._last}: follow after that, or after 0"
        found = {"instance": self._journal.instance, "last": self._last}
        return RemoteError("failed_precondition", text, details=found)

    def _measure(self) -> None:
        behind = [self._last - one.seq for one in self._followers]
        self.host.meter.level("event_followers", len(behind))
        self.host.meter.level("event_lag", max([0, *behind]))

    def events_recent(self, body: m.EventsRecent, _: Call) -> dict[str, Any]:
        """The end of the journal."""
        number = min(body.number, MOST_RECENT)
        events = self._journal.read(max(0, self._journal.last_seq - number), number)
        return {"events": [described(event) for event in events]}

    def events_check(self, _body: m.EventsCheck, _: Call) -> dict[str, Any]:
        """The journal's file."""
        return {"problems": self._journal.check()}

    def events_backup(self, body: m.EventsBackup, _: Call) -> None:
        """A copy of the journal."""
        self._journal.backup(backup_path(body.path))

    def credited(self, call: Call) -> None:
        """A follower takes more."""
        if call.body.gather:
            call.credit = min(call.credit, MOST_CREDIT)
        self._serve()

    def cancelled(self, call: Call) -> None:
        """A follower has left."""
        super().cancelled(call)
        self._serve()

    # Who follows

    def _serve(self) -> None:
        """Whoever has not had all, a page each in turn, while there is room on the way to the router."""
        now = time.monotonic()
        waiting = [one for one in self._followers if one.due <= now]
        while waiting and not self.host.pump.crowded:
            waiting = [one for one in waiting if self._serve_page(one, now)]
        self._followers = [one for one in self._followers if one.call.open]
        self._measure()
        late = [one.due for one in self._followers if one.seq < self._last and one.due > now]
        self._wake(now + CROWDED_PAUSE if waiting else min(late, default=self._wakes_at), now)

    def _wake(self, at: float, now: float) -> None:
        """Serve again then, or before."""
        if at < self._wakes_at:
            self._wakes_at = at
            self.later(at - now, self._woken)

    def _woken(self) -> None:
        self._wakes_at = float("inf")
        self._serve()

    def _serve_page(self, follower: _Follower, now: float) -> bool:
        """Whether there may be more for it."""
        call = follower.call
        if not call.open:
            return False
        if call.credit > 0 and follower.seq < self._last:
            page = self._pages.after(follower.seq, min(MOST_EVENTS, call.credit), follower.filter)
            before, follower.seq = follower.seq, page.last
            if before and page.missing:  # trimmed while it waited; who begins anew takes what there is
                call.event({"gap": page.missing}, before + page.missing)
            self._tell(follower, page, now)
            if follower.seq > before:
                return True
        if not follower.follow:
            self._end(call)
        return False

    def _tell(self, follower: _Follower, page: Page, now: float) -> None:
        if follower.gather and page.told:
            if follower.seq >= self._last:  # one who is behind need not wait for more to come
                follower.due = now + follower.gather
            follower.call.packed_event(page.gathered, page.told[-1].event.seq, len(page.told))
            return
        for one in page.told:
            follower.call.packed_event(one.packed, one.event.seq)

    def _end(self, call: Call) -> None:
        if call.credit <= 0:
            text = "more events than credit; ask again after the last one that came"
            call.fail(RemoteError("overloaded", text, outcome="done"))
        else:
            call.reply({"instance": self._journal.instance, "last": self._journal.last_seq})
