"""Collector: finds what nothing refers to any more, and has its owners delete it. Looks after the stores.

States: idle, waiting for a time, or collecting in a worker thread; nothing durable. A run is three steps,
each of which can be repeated and cut off anywhere: metadata marks and forgets what nothing leads to,
snapshots removes what is left of the candidates (a parent after its children), content deletes what no
namespace knows and no lease holds. What makes it safe is in actors/sweeping.py; when it runs, in
actors/collecting.py.
Restarted by the supervisor, always; each start collects once.
"""

import time
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.backing_up import backup
from actors.call import LATER, Call, Later
from actors.collecting import Schedule
from actors.upkeep import Upkeep
from transport.errors import RemoteError

SWEEP_LIMIT = 300.0  # seconds for one step
SECOND = 1_000_000_000
COLLECTED = ("leases", "images", "contents", "snapshots", "blobs", "ingests")


class CollectorActor(Actor):
    """One method an operation; see actors/messages/collection.py for what each means."""

    kind = "collector"

    def started(self) -> None:
        """Plan the first run."""
        settings = self.settings
        self._schedule = Schedule(
            settings.collection_mutations, settings.collection_pause, settings.collection_startup_delay
        )
        self._running = False
        self._wanted: list[Call] = []
        self._served: list[Call] = []
        self._timer = 0
        self._upkeep = Upkeep(self)
        self._schedule.started(time.monotonic())
        self._set_timer()

    # When

    def collector_note(self, body: m.CollectorNote, _: Call) -> None:
        """Something has changed."""
        self._schedule.noted(time.monotonic(), body.mutations, body.deletions)
        self._expect(body.next_expiry)
        self._set_timer()

    def gc_run(self, _body: m.GcRun, call: Call) -> Later:
        """Now; a run that is under way may be past what the client means, so the next one is waited for."""
        self._wanted.append(call)
        if not self._running:
            self._begin()
        return LATER

    def _expect(self, at: int | None) -> None:
        """A time of the wall clock. Should that be set, we look too early, or when it is noted again."""
        if at is not None:
            self._schedule.expects(time.monotonic() + max(0.0, at / SECOND - time.time()))

    def _set_timer(self) -> None:
        """One timer counts, the last one that was set; none while nothing is due."""
        if self._running or self._schedule.due is None:
            return
        self._timer += 1
        mine = self._timer
        self.later(max(0.0, self._schedule.due - time.monotonic()), lambda: self._fired(mine))

    def _fired(self, timer: int) -> None:
        if timer == self._timer and not self._running:
            self._begin()

    def _begin(self) -> None:
        self._running = True
        self._served, self._wanted = self._wanted, []
        self._schedule.begins()
        self._began = time.monotonic()
        self.work(self._collect, self._ended)

    def _ended(self, result: Any) -> None:
        self._running = False
        now = time.monotonic()
        if isinstance(result, Exception):
            self.log.warning("collection: %s; tried again", result)
            self._schedule.failed(now)
            self.host.meter.count("collection_failures")
        else:
            self._schedule.ran(self._began, now)
            self._report(result)
        for call in self._served:
            call.settle(result)
        if self._wanted:
            self._begin()
        else:
            self._set_timer()

    def _report(self, result: dict[str, Any]) -> None:
        for at in result.pop("expiries"):
            self._expect(at)
        result["seconds"] = round(time.monotonic() - self._began, 6)
        self._measure(result)
        if any(value for key, value in result.items() if key != "seconds"):
            self.log.info("collected: %s", ", ".join(f"{value} {key}" for key, value in result.items()))

    def _measure(self, result: dict[str, Any]) -> None:
        meter = self.host.meter
        meter.took("collection", result["seconds"])
        meter.count("collected_bytes", result["bytes"])
        for kind in COLLECTED:
            meter.count("collected", result[kind], kind)

    # How

    def _collect(self) -> dict[str, Any]:
        """In a worker thread."""
        failpoints.hit("collector", "mark", "before")
        graph = self.call(m.SnapshotsGraph())["snapshots"]
        nodes = [m.SnapshotNode(**node) for node in graph]
        swept = self.call(m.CollectionSweep(nodes), limit=SWEEP_LIMIT)
        failpoints.hit("collector", "mark", "after")
        candidates = [m.SnapshotNode(**node) for node in swept["snapshots"]]
        removed = self.call(m.SnapshotsSweep(candidates), limit=SWEEP_LIMIT)["snapshots"]
        failpoints.hit("collector", "snapshots", "after")
        content = self.call(m.ContentSweep(), limit=SWEEP_LIMIT)
        failpoints.hit("collector", "content", "after")
        return {
            "leases": swept["leases"],
            "images": len(swept["images"]),
            "contents": swept["contents"],
            "snapshots": removed,
            "blobs": content["blobs"],
            "bytes": content["bytes"],
            "ingests": content["ingests"],
            "expiries": [swept["next_expiry"], content["next_expiry"]],
        }

    # The stores as a whole

    def _upkept(self, call: Call, work: Any) -> Later:
        self.work(work, call.settle)
        return LATER

    def system_df(self, _body: m.SystemDf, call: Call) -> Later:
        """What takes how much space."""
        return self._upkept(call, self._upkeep.usage)

    def system_prune(self, body: m.SystemPrune, call: Call) -> Later:
        """Remove what is not used, then collect."""

        def removed(result: Any) -> None:
            if isinstance(result, Exception):
                call.fail(result)
                return
            self.ask(
                m.GcRun(),
                lambda gone: call.settle(
                    gone if isinstance(gone, RemoteError) else {"removed": result, **gone}
                ),
                limit=SWEEP_LIMIT,
            )

        self.work(lambda: self._upkeep.remove_unused(body), removed)
        return LATER

    def system_check(self, body: m.SystemCheck, call: Call) -> Later:
        """Compare records, blobs and directories."""
        return self._upkept(call, lambda: {"problems": self._upkeep.check(body.limit)})

    def system_repair(self, body: m.SystemRepair, call: Call) -> Later:
        """Check, and put right what can be."""
        return self._upkept(call, lambda: self._upkeep.repair(body.limit))

    def system_backup(self, body: m.SystemBackup, call: Call) -> Later:
        """Copies of the databases."""
        return self._upkept(call, lambda: backup(self, body.directory))
