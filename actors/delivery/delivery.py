"""Delivery: a thread of a container's actor that brings its kept output to where its log driver wants it."""

import contextlib
import stat
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from actors.delivery.journal import Journal
from actors.delivery.json_file import JsonFile
from actors.delivery.program import ProgramSink
from actors.delivery.sink import NotNowError, Sink
from actors.runtime.binary_logger import BinaryLogger, parse
from actors.runtime.cutting import Limits
from actors.runtime.errors import InvalidSpecError
from actors.runtime.output import Reader, touch
from actors.runtime.wishes import LogWish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.container import ContainerActor

PART: Final = 1 << 16  # bytes read at once
RETRY: Final = 0.2  # seconds until what is not taken is offered again
END_LIMIT: Final = 10.0  # seconds that a start or a removal waits for what is left
_KEPT: Final = "log"  # the key under which the zygote keeps descriptors


class Delivery:
    """Used in the actor's thread, but for what says otherwise."""

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._thread: threading.Thread | None = None
        self._awake = threading.Event()
        self._lock = threading.Lock()
        self._serving = self._ending = False
        self._said = ""
        self._descriptors: list[int] = []

    @property
    def _wish(self) -> LogWish:
        return msgspec.convert(self._actor.record["options"].get("log") or {}, LogWish)

    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        return not self._serving

    def lingers(self) -> bool:
        """Whether there may be something left of an earlier run, for which `prepare` would wait."""
        return self._thread is not None

    def prepare(self) -> None:
        """Before a start; in a worker thread if it `lingers`.

        Raises:
            InvalidSpecError: its driver cannot work here.
        """
        wish = self._wish
        if wish.driver == "binary":
            parse(wish.program).check()
        elif wish.driver == "journald":
            address = Path(self._actor.settings.logging_journal)
            if not address.exists() or not stat.S_ISSOCK(address.stat().st_mode):
                raise InvalidSpecError(f"log driver journald: there is no journal at {address}")
        self.finish()  # of an earlier run

    def begin(self, *, ended: bool = False) -> None:
        """Deliver what comes, from where the last incarnation had come to. Twice is fine.

        `ended`: nothing more comes.
        """
        if self._wish.driver in ("file", "none"):
            return
        with self._lock:
            self._ending = ended
            if self._serving:
                return
            self._serving = True
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something new. In any thread."""
        self._awake.set()

    def end(self) -> None:
        """The container has ended, and all that it has written is kept."""
        self._ending = True
        self._awake.set()

    def finish(self) -> None:
        """Wait for what is left, for a while; in a worker thread."""
        self.end()
        if self._thread is not None:
            self._thread.join(END_LIMIT)
            if self._thread.is_alive():
                self._actor.log.error("log driver: not all of the output was taken: %s", self._said)

    def keep_all(self) -> None:
        """Another zygote: it has not got any of them."""
        if self._descriptors:
            self._keep(self._descriptors)

    def _keep(self, found: "Iterable[int]") -> None:
        self._descriptors = list(found)
        self._actor.host.say(self._descriptors, op="keep", key=_KEPT)

    # In its thread

    def _run(self) -> None:
        try:
            self._serve()
            while self._goes_on():
                self._serve()
        except Exception as error:  # noqa: BLE001  # it is raised where it ends the actor
            self._actor.soon(partial(_raise, error))

    def _goes_on(self) -> bool:
        """Whether its container has been started again while what the last run had left was delivered."""
        with self._lock:
            self._serving = not self._ending
            return self._serving

    def _serve(self) -> None:
        actor = self._actor
        files = actor.settings.logs(actor.namespace, actor.id)
        touch(files)
        with contextlib.closing(self._sink(files)) as sink:
            with contextlib.closing(Reader(files, sink.taken())) as reader:
                self._copy(reader, sink)
            if self._descriptors:
                self._descriptors = []
                actor.host.say(op="drop", key=_KEPT)

    def _copy(self, reader: Reader, sink: Sink) -> None:
        """Until the container has ended and everything has been taken."""
        while True:
            self._awake.clear()
            ending = self._ending
            while (found := reader.next(PART)) is not None:
                sink.put(*found)
                self._until_taken(sink.flush)
            self._until_taken(sink.flush)
            if ending:
                self._until_taken(sink.end)
                return
            self._awake.wait(sink.pause)

    def _until_taken(self, step: Any) -> None:
        while True:
            try:
                step()
            except NotNowError as error:
                if str(error) != self._said:
                    self._said = str(error)
                    self._actor.log.warning("log driver: %s; it waits", error)
                time.sleep(RETRY)
            else:
                self._said = ""
                return

    def _sink(self, files: Path) -> Sink:
        actor, wish = self._actor, self._wish
        if wish.driver == "json":
            return JsonFile(files, None if wish.max_size is None else Limits(wish.max_size, wish.max_file))
        if wish.driver == "journald":
            record = actor.record
            fields = {
                "SYSLOG_IDENTIFIER": actor.id[:12],
                "CONTAINER_ID": actor.id[:12],
                "CONTAINER_ID_FULL": actor.id,
                "CONTAINER_NAME": record["name"],
                "IMAGE_NAME": record["image"],
                "ACTORD_NAMESPACE": actor.namespace,
            }
            return Journal(files, actor.settings.logging_journal, fields)
        pipes = actor.bundle / "logger"
        logger = BinaryLogger(parse(wish.program), pipes, actor.id, actor.namespace)
        return ProgramSink(logger, pipes, self._keep)


def _raise(error: Exception) -> NoReturn:
    raise error
