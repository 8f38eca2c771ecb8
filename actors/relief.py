"""Who turns the pump: the actor's thread between two messages; in its place, when that is long, its relief.

So a message is taken up by the thread that has read it, and nobody has to be woken for it. But an actor may
be long with one: a disk syncs, a database is large. What the pump does meanwhile does not wait for that:
output is copied, figures are given, too many requests are refused, answers reach the threads that wait for
them. An alarm is set before each message; once it goes off, the relief, which sleeps on it, turns the pump
until the actor's thread wants to. A heartbeat is not answered by the relief: it is the actor's to show that
it does not hang (docs/architecture.md, "Heartbeats").
"""

import threading
from collections.abc import Callable
from typing import Final

from actors.linux.alarm import Alarm
from transport.pump import Pump

PATIENCE: Final = 0.02  # seconds with one message after which the pump is turned by the relief


class StoppedError(Exception):
    """The pump has stopped: there will be no further message."""


class Relief:
    """Two threads that turn one pump, never both at once."""

    def __init__(self, pump: Pump, ended: Callable[[BaseException | None], None]) -> None:
        """`ended` is called in the relief's thread if the pump stopped, or failed, while it turned it."""
        self._pump = pump
        self._ended = ended
        self._alarm = Alarm(PATIENCE)
        self._turning = threading.Lock()
        self._wanted = False  # by the actor's thread

    def begin(self) -> None:
        """The actor's thread is about to do something else than to turn the pump, for the first time."""
        self._alarm.set()
        threading.Thread(target=self._run, name="relief", daemon=True).start()

    def wait(self, empty: Callable[[], bool]) -> None:
        """In the actor's thread, between two messages: turn the pump until its mailbox is not `empty`.

        It is turned once even if that is not so: what overtakes requests has to come in.

        Raises:
            StoppedError: the pump has stopped.
        """
        if not self._turning.acquire(blocking=False):
            if not empty():
                return  # the relief goes on while there is something to do
            self._take_over()
        try:
            self._turn(empty)
        finally:
            self._turning.release()
        self._alarm.set()

    def _take_over(self) -> None:
        self._wanted = True
        self._pump.wake()
        self._turning.acquire()
        self._wanted = False

    def _turn(self, empty: Callable[[], bool]) -> None:
        if empty():
            self._alarm.take_back()
        going = self._pump.turn(empty)
        while going and empty():
            going = self._pump.turn(empty)
        if not going:
            raise StoppedError

    def _run(self) -> None:
        while True:
            self._alarm.sleep()
            if self._turning.acquire(blocking=False):  # else the actor's thread is there again
                self._stand_in()
                self._turning.release()

    def _stand_in(self) -> None:
        try:
            while not self._wanted:
                if not self._pump.turn(lambda: not self._wanted):
                    self._ended(None)
        except BaseException as error:  # noqa: BLE001  # it would end this thread, and not be seen
            self._ended(error)
