"""Signals to a foreground `run` or `exec` are meant for the process in the container."""

from __future__ import annotations

from cli.complaint import complain
from cli.session import RefusedError
from transport.client import NotRunningError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType, TracebackType
    from typing import Any

    from cli.session import Session
else:
    import _signal as signal  # the module of that name makes enums of the numbers first: 1.8 ms of each run

INSISTING = (signal.SIGINT, signal.SIGTERM)
FORWARDED = (*INSISTING, signal.SIGUSR1, signal.SIGUSR2)  # the latter would end us, and mean something there
STARTS = ("created", "preparing", "starting")
ENOUGH = 3  # signals after which the user wants us to let go
LIMIT = 3.0  # seconds for one signal to be passed on


class DetachedError(Exception):
    """The user insists: we end, the container goes on.

    Attributes:
        number: the signal that was the last straw.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """What we end with: as one whom that signal ended, 0 after the keys that detach."""
        return 128 + self.number if self.number else 0


class SignalledError(KeyboardInterrupt):
    """A signal has come that ends us.

    Attributes:
        number: that signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class NothingRunsError(SignalledError):
    """It was meant for a process that is only just being started."""


class Forwarding:
    """While it is entered, SIGINT and SIGTERM go to the process, as do SIGUSR1 and 2, which end nothing.

    The third of the former raises DetachedError.

    A signal arrives in the middle of anything, so each takes a connection of its own.
    """

    def __init__(self, session: Session, actor: str, name: str, exec_id: str = "") -> None:
        self._session = session
        self._actor = actor
        self._name = name
        self._exec_id = exec_id
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        """Take the signals."""
        for number in FORWARDED:
            self._before[number] = signal.signal(number, self._arrived)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, before in self._before.items():
            signal.signal(number, before)

    def _arrived(self, number: int, _frame: FrameType | None) -> None:
        insists = number in INSISTING
        self._count += insists
        if self._count >= ENOUGH and insists:
            raise DetachedError(number)
        if self._count == ENOUGH - 1 and insists:
            complain(f"sent again; once more to detach, or end it with: actr kill {self._name}")
        other = self._session.another()
        try:
            self._forward(other, number)
        finally:
            other.close()

    def _forward(self, other: Session, number: int) -> None:
        body = {"signal": number, "exec_id": self._exec_id}
        try:
            other.ask_once(self._actor, "tasks.kill", body, limit=LIMIT)
        except (RefusedError, NotRunningError) as error:
            if number in INSISTING and self._only_starts(other, error):
                raise NothingRunsError(number) from error
            complain(f"signal {_name(number)} was not delivered: {error}")

    def _only_starts(self, other: Session, error: Exception) -> bool:
        """Whether its first process is still to come, which would never hear of the signal."""
        refused = isinstance(error, RefusedError) and error.code == "failed_precondition"
        if not refused or self._exec_id:
            return False
        try:
            found = other.ask(self._actor, "tasks.state", {}, limit=LIMIT)
        except (RefusedError, NotRunningError):
            return False
        return found["phase"] in STARTS and found["run"] <= 1 and not found.get("error")


def _name(number: int) -> str:
    from signal import Signals

    return Signals(number).name
