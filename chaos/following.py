"""Follows the event journal through every crash: nothing may be missing from it, or in it twice."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from chaos.asking import PERSIST, RecordingSession, persist
from cli.session import RefusedError
from transport.client import Message, NotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.scene import Scene

SEQUENCE: Final = "events have no unmarked gap"
ONE_EXIT: Final = "one exit event per run"
ONE_START: Final = "one start event per run"
KEYED: Final = "each key has at most one effect"
CREDIT: Final = 1000


class Follower(threading.Thread):
    """A client that follows all events from the first on."""

    def __init__(self, scene: Scene, stop: threading.Event) -> None:
        super().__init__(name="follower", daemon=True)
        self._scene, self._findings, self._stop_wanted = scene, scene.findings, stop
        self._session = scene.session()
        self.reached = 0
        self.topics: Counter[tuple[str, str]] = Counter()
        self.ends: dict[str, list[Any]] = {}
        self.marks: Counter[str] = Counter()

    def run(self) -> None:
        """Until told to stop."""
        while not self._stop_wanted.is_set():
            try:
                for message in self._stream(follow=True):
                    self._take(message)
                    if self._stop_wanted.is_set():
                        break
            except (RefusedError, NotRunningError):
                self._findings.note("the follower of events had to begin anew")
        self._session.close()

    def _stream(self, *, follow: bool) -> Iterator[Message]:
        def wish() -> dict[str, Any]:
            return {"namespace": "", "after": self.reached, "follow": follow}

        return self._session.stream(
            "events", "events.subscribe", wish(), credit=CREDIT, resume=wish, patience=PERSIST
        )

    def _take(self, message: Message) -> None:
        if message.kind != "event":
            return
        if "gap" in message.body:
            self._findings.note("a marked gap in the events")
            self.reached = message.seq
            return
        text = f"event {message.seq} came after {self.reached}"
        self._findings.check(SEQUENCE, message.seq == self.reached + 1, text)
        self.reached = message.seq
        self._count(message.body)

    def _count(self, event: dict[str, Any]) -> None:
        topic, body = event["topic"], event.get("body") or {}
        identity = str(body.get("id") or body.get("exec_id") or body.get("container_id"))
        if topic.startswith(("/tasks/", "/containers/")):
            self.topics[topic, identity] += 1
        if topic == "/tasks/exit":
            self.ends.setdefault(identity, []).append(body.get("exit_status"))
        if topic == "/chaos/mark":
            self.marks[str(body.get("key"))] += 1

    def catch_up(self, session: RecordingSession) -> int:
        """The last number in the journal, which the follower should reach."""
        wish = {"namespace": "", "after": 1 << 40, "follow": False}

        def ask() -> int:
            for message in session.stream("events", "events.subscribe", wish, credit=CREDIT):
                if message.kind == "final":
                    return int(message.body["last"])
            return 0

        return persist(ask)

    @staticmethod
    def wake(session: RecordingSession) -> None:
        """One more event, so that it sees that it is to stop."""
        body = {"namespace": "c", "topic": "/chaos/end", "key": "end", "body": {}, "at": 1}
        persist(lambda: session.ask("events", "events.publish", body))

    def check(self) -> None:
        """Everything that can only be said at the end."""
        for run in self._scene.runs.every():
            if run.ended:
                found = self.ends.get(run.id, [])
                text = f"{run.name} ({run.id[:12]}) ended with {run.ended_code}, its exit events say {found}"
                self._findings.check(ONE_EXIT, found == [run.ended_code], text)
        for mark in self._scene.marks:
            times = self.marks[mark]
            self._findings.check(KEYED, times == 1, f"the event with key {mark} came {times} times")
        for (topic, identity), times in self.topics.items():
            self._findings.check(KEYED, times == 1, f"{topic} of {identity[:12]} came {times} times")
        for run in self._scene.runs.every():
            if run.ended:
                times = self.topics["/tasks/start", run.id]
                text = f"{run.name} ({run.id[:12]}) ended, and its start was told {times} times"
                self._findings.check(ONE_START, times == 1, text)
            for topic in ("/containers/create", "/containers/delete"):
                if run.over and not self.topics[topic, run.id]:
                    self._findings.note(f"no {topic} event of a container")
