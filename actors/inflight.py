"""Work in flight that clients wait for: each sees how far it is, and all get the same answer.

Base of the actors that have one thing to do (a pull, a job) and end a moment after it. Restarted by the
supervisor unless it ends by itself; the next incarnation begins again and finds what is durable done.
"""

import hashlib
import os
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from storage.content.disk import reported
from storage.errors import StorageError
from transport.errors import RemoteError
from transport.registry.errors import RegistryError

LINGER = 2.0  # seconds for a client that is only just coming
COMING_BACK = 5.0  # seconds for whoever was attached, when a router or an incarnation of ours has died
TELL_EVERY = 0.1  # seconds between two progress messages
ATTEMPTS = 3  # incarnations of which each may fail by a mistake of ours, before the clients are told
EXPECTED = (StorageError, RegistryError, RemoteError)
"""How work may fail without a mistake of ours: the clients are told, and the process ends in order."""


class AbandonedError(RemoteError):
    """The work has ended because nobody wanted it any more; what had come stays where it is."""

    def __init__(self) -> None:
        super().__init__("unavailable", "cancelled; what has arrived is kept")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one thing (a blob, an image) is; sizes in bytes. `source` is who sends it, as far as known."""

    ref: str
    status: str
    offset: int = 0
    total: int = 0
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the wire."""
        return asdict(self)


class InFlight(Actor):
    """One piece of work. Subclasses say what it is in `perform`, and call `begin_work` when they start."""

    about = ""
    _lease = ""
    """What it is about, for the log."""

    @property
    def namespace(self) -> str:
        """Where it works."""
        return str(self.birth.args["namespace"])

    @property
    def lease(self) -> str:
        """The lease that holds what the work needs: taken when it is first asked for, in a worker thread.

        It goes with the work. Should we be killed, our next incarnation takes it over; if there is none, the
        supervisor has it released. Raises RemoteError.
        """
        with self._taking:
            if not self._lease:
                name, birth = self.birth.name, self.birth
                lease = f"{self.kind}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
                self.call(m.LeasesTake(self.namespace, lease, name, birth.instance, birth.inc))
                self._lease = lease
                failpoints.hit(self.kind, "lease", "taken")
            return self._lease

    def perform(self) -> Any:
        """Do it, in a worker thread; what it returns or raises is every client's answer."""
        raise NotImplementedError

    def begin_work(self) -> None:
        """Set to work."""
        self.hold_work()
        self.set_to_work()

    def hold_work(self) -> None:
        """Take clients in; the work is to begin with `set_to_work`."""
        self._attached: list[Call] = []
        self._result: Any = None
        self._told_at: dict[str, float] = {}
        self._taking = threading.Lock()
        self._lease = ""
        self._progress: dict[str, Progress] = {}

    def set_to_work(self) -> None:
        """Begin, or begin anew, for those who are attached."""
        self._result = None
        self.answered = False  # whether the result was given to anybody
        self.work(self._perform_held, self._done)

    def _perform_held(self) -> Any:
        """What it held is released however it ends."""
        finished = False
        try:
            with reported(f"finish {self.about}"):
                result = self.perform()
            finished = True
            return result
        finally:
            self._release(finished=finished)

    def _release(self, *, finished: bool) -> None:
        if not self._lease and self.birth.inc == 1:
            return
        failpoints.hit(self.kind, "lease", "release")
        mine = m.LeasesRelease(self.birth.name, self.birth.instance, self.birth.inc, finished)
        try:
            self.call(mine)
        except RemoteError as error:  # then the supervisor does it
            self.log.warning("%s: its lease could not be released: %s", self.about, error)
        self._lease = ""

    def work_again(self, call: Call) -> None:
        """Begin anew for a client that came when all was over, and found it undone since."""
        self._attached = [call]
        self.set_to_work()

    def cancelled(self, call: Call) -> None:
        """One client less."""
        super().cancelled(call)
        self._drop_those_who_left()
        self.end_unless_wanted()

    def forsaken(self, call: Call) -> None:
        """It is about to attach again."""
        super().cancelled(call)
        self._drop_those_who_left()
        self.later(COMING_BACK, self.end_unless_wanted)

    def _drop_those_who_left(self) -> None:
        self._attached = [kept for kept in self._attached if kept.open]

    def end_unless_wanted(self) -> None:
        """If nobody waits for work that is not done yet."""
        if not self._attached and self._result is None:
            self.abandoned()

    def abandoned(self) -> None:
        """Nobody waits for the work any more; unless a subclass ends it, it goes on."""

    def stopping(self) -> None:
        """What has come is durable where it lies; nothing to close."""
        os._exit(0)

    def attach(self, call: Call) -> Later:
        """The progress so far, what is to come, and the end."""
        if self._result is not None:
            self.attach_late(call, self._result)
            return LATER
        self._attached.append(call)
        for progress in list(self._progress.values()):  # the worker adds to it meanwhile
            call.part(progress.to_dict())
        return LATER

    @property
    def is_wanted(self) -> bool:
        """Whether anybody is attached."""
        return bool(self._attached)

    @property
    def is_over(self) -> bool:
        """Whether there is a result."""
        return self._result is not None

    def attach_late(self, call: Call, result: Any) -> None:
        """The work is over."""
        call.settle(result)

    def moved(self, progress: Progress) -> None:
        """From a worker thread: something has come further."""
        now = time.monotonic()
        before = self._progress.get(progress.ref)
        unchanged = before is not None and before.status == progress.status
        if unchanged and now - self._told_at.get(progress.ref, 0.0) < TELL_EVERY:
            return
        self._told_at[progress.ref] = now
        self._progress[progress.ref] = progress
        self.soon(lambda: self._tell_progress(progress))

    def _tell_progress(self, progress: Progress) -> None:
        for call in self._attached:
            if call.open:
                call.part(progress.to_dict())

    def _done(self, result: Any) -> None:
        if isinstance(result, Exception) and not isinstance(result, EXPECTED):
            if self.birth.inc < ATTEMPTS:
                raise result
            # What is wrong is no passing state of a process: it would be started anew without end.
            self.log.error("%s: given up", self.about, exc_info=result)
        if isinstance(result, AbandonedError):
            self._end_abandoned()
            return
        self._result = result
        if isinstance(result, Exception):
            self.log.warning("%s: %s", self.about, result)
        self.answered = bool(self._attached)
        for call in self._attached:
            call.settle(result)
        self.later(LINGER, lambda: self._end_with(result))

    def _end_abandoned(self) -> None:
        """End at once, unless somebody has come while the work was winding down."""
        if self._attached:
            self.set_to_work()
        else:
            self.finish()

    def _end_with(self, result: Any) -> None:
        if self._result is result:  # nobody has made us begin again meanwhile
            self.finish()
