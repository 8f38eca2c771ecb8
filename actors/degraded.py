"""A container's actor that fails at each start, by a mistake of ours or since what it reads is damaged.

How often that has been so in a row is kept beside the journal, and from the fifth time on it is left to stand
for a while, twice as long each time, before it is tried again: nothing of the container is read or touched
then but its output, whose program would wait for room in the pipe. What keeps it from starting is on record,
for people to see, and a removal that is forced is done, as that of a container whose start was cut off.
Anything else is refused.
"""

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from actors import messages as m
from actors.call import Call
from actors.linux import plain_file
from actors.runtime import bundle as files
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

PATIENCE: Final = 5  # failures in a row that the supervisor sees to
SHORT: Final = 10.0  # seconds after which a failure is none of the start
PAUSE_FIRST, PAUSE_MOST = 1.0, 300.0  # seconds between two attempts
MOST_TEXT: Final = 300
_ALLOWED: Final = frozenset({"containers.remove", "failpoints.set", "failpoints.list"})


def pause_after(failures: int) -> float:
    """Seconds until the next attempt, after so many failures in a row. Pure."""
    return min(PAUSE_FIRST * 2.0 ** min(max(0, failures - PATIENCE), 16), PAUSE_MOST)


class Degraded:
    """Used in the actor's thread.

    Attributes:
        on: nothing is done but wait, tell, and remove.
    """

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._began = time.monotonic()
        self._failures, self._why, self._spares_output = self._read()
        self.on = self._failures >= PATIENCE
        self._taking = False  # its output, which may be what it dies of

    @property
    def _path(self) -> str:
        return f"{self._actor.bundle}/{files.FAILURES}"

    def _read(self) -> tuple[int, str, bool]:
        """How often, why, and whether whoever began to take its output has not lived for long."""
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123  # at each start of an actor
                failures, why, *taking = json.loads(file.read())
            return int(failures), str(why), any(taking)
        except (OSError, ValueError, TypeError):
            return 0, "", False

    def _write(self, failures: int, why: str) -> None:
        """What cannot be written down is no reason to fail twice."""
        with contextlib.suppress(OSError):
            plain_file.write(self._path, json.dumps([failures, why, self._taking]).encode())

    def failed(self, error: BaseException | None) -> None:
        """This incarnation ends of it."""
        early = time.monotonic() - self._began < SHORT
        failures = self._failures + 1 if early else 1
        why = f"{type(error).__name__}: {error}"[:MOST_TEXT]
        self._write(failures, why)

    def begin(self) -> None:
        """The actor has its record: from here on it is well, or waits."""
        actor = self._actor
        if self.on:
            pause = pause_after(self._failures)
            actor.log.error("%d failures in a row; the next attempt is in %g s", self._failures, pause)
            self._tell(f"its actor cannot start: {self._why}; see the log; actr rm -f removes it")
            actor.later(pause, self._attempt)
            if (actor.record["task"] or {}).get("status") in ("running", "paused"):
                self._take_output()
        elif self._failures:
            actor.later(SHORT, self._forget)

    def _take_output(self) -> None:
        """Unless that is what it dies of: then it is left alone until the next attempt has failed."""
        actor = self._actor
        if self._spares_output or actor.record["options"].get("foreign"):  # whose output is its client's
            return
        self._taking = True
        self._write(self._failures, self._why)  # before it can go wrong
        try:
            actor.take_output()
        except Exception as error:  # noqa: BLE001  # what it is, the attempt will show
            actor.log.warning("its output is left where it is: %s", error)
        actor.later(SHORT, self._takes_output)

    def _takes_output(self) -> None:
        if self.on:
            self._taking = False
            self._write(self._failures, self._why)

    def _tell(self, error: str) -> None:
        """The last that is known of its task, and this."""
        record = self._actor.record
        known = record["task"] or {"status": "created"}
        revision = max(time.time_ns(), known.get("revision", 0) + 1)
        fields = {**known, "namespace": record["namespace"], "id": record["id"]}
        fields |= {"revision": revision, "error": error}
        record["task"] = {**known, "revision": revision}
        self._actor.ask(msgspec.convert(fields, m.TasksRecord), self._told)

    def _told(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._actor.log.warning("not told: %s", result)

    def _attempt(self) -> None:
        if self.on:
            self.on, self._taking, self._began = False, False, time.monotonic()
            self._actor.open_again()

    def _forget(self) -> None:
        """It has started, and goes on: what is on record of it holds no longer."""
        self._failures = 0
        with contextlib.suppress(OSError):
            (self._actor.bundle / files.FAILURES).unlink(missing_ok=True)
        if (self._actor.record["task"] or {}).get("error") != self._actor.state.error:
            self._actor.reports.report()

    def refuses(self, call: Call) -> bool:
        """Answer what cannot be done now, and say whether it was so."""
        if not self.on or call.envelope.op == "metrics.figures":
            return False
        removal = isinstance(call.body, m.ContainersRemove)
        if call.envelope.op not in _ALLOWED or (removal and not call.body.force):
            text = f"the actor of container {self._actor.record['name']} cannot start: {self._why}"
            call.fail(RemoteError("failed_precondition", f"{text}; see the log, or remove it: actr rm -f"))
            return True
        if removal:
            self._give_up()
        return False

    def _give_up(self) -> None:
        """It goes: what is damaged of its documents is in the way, and the next incarnation starts afresh."""
        self.on = False
        for name in (files.JOURNAL, files.TASK, files.CONFIG, files.HEALTH, files.FAILURES):
            path = self._actor.bundle / name
            with contextlib.suppress(OSError):
                if name in (files.JOURNAL, files.FAILURES) or not _is_document(path.read_bytes()):
                    path.unlink()


def _is_document(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False
