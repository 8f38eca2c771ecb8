"""A program that takes output by pipes; see actors/runtime/binary_logger.py.

Bytes go through a pipe of ours into the program's, as standard input goes to a process
(actors/runtime/input.py): our death neither loses nor doubles one. Of what the program itself had taken when
it died, nobody knows what became: the next one finds a line on standard error that says so.
"""

import contextlib
import select
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from actors.delivery.sink import NotNowError
from actors.linux import descriptors
from actors.runtime.binary_logger import BinaryLogger
from actors.runtime.input import MOST, Input
from actors.runtime.output import NAMES, STDERR, Chunk

AGAIN: Final = b"actord: the logger was started again; what it had taken and not written is lost\n"
PAUSE: Final = 0.5  # seconds between two looks whether it lives
_PATIENCE: Final = 0.2  # seconds that a full pipe is waited for at once
_TRIES: Final = 3  # to have somebody read what is left at the end
_MARK: Final = "mark"  # a writer of the pipes; the others are named after the offset that they begin at


class ProgramSink:
    """A sink; see `Sink`."""

    pause: float | None = PAUSE

    def __init__(
        self, logger: BinaryLogger, directory: Path, keep: Callable[[Iterable[int]], None], start: int = 0
    ) -> None:
        """`keep` has descriptors outlive us; `directory` is for pipes."""
        self._logger, self._keep = logger, keep
        self._stages = {stream: Input(directory / f"stage-{name}") for stream, name in NAMES.items()}
        self._bases = {stream: _base(stage, start) for stream, stage in self._stages.items()}
        self._started, self._owing = directory / "started", directory / "owing"
        self._pending: deque[tuple[int, str, int, bytes]] = deque()
        self._closing, self._tries = False, _TRIES
        if self._owing.exists():
            self._mark()
        self._keep_all()

    def _keep_all(self) -> None:
        self._keep([*self._logger.ends.values(), *(stage.stage for stage in self._stages.values())])

    def taken(self) -> dict[int, int]:
        """As Sink has it."""
        return {stream: base + self._stages[stream].taken(str(base)) for stream, base in self._bases.items()}

    def put(self, chunk: Chunk, content: bytes) -> None:
        """As Sink has it. What is missing is said on the same stream."""
        if chunk.cut:
            mark = f"actord: {chunk.cut} bytes of {NAMES[chunk.stream]} are missing here\n"
            self._pending.append((chunk.stream, _MARK, 0, mark.encode()))
            self._bases[chunk.stream] = chunk.start
        base, start = self._bases[chunk.stream], chunk.start
        for place in range(0, len(content), MOST):
            piece = content[place : place + MOST]
            self._pending.append((chunk.stream, str(base), start + place - base, piece))

    def flush(self) -> None:
        """As Sink has it."""
        self._revive()
        while self._pending:
            stream, writer, offset, content = self._pending[0]
            self._deliver(stream)
            stage = self._stages[stream]
            stage.take(writer, stage.taken(writer) if writer == _MARK else offset, content)
            self._pending.popleft()
            if content == AGAIN:
                self._owing.unlink(missing_ok=True)
        for stream in self._stages:
            self._deliver(stream)

    def _deliver(self, stream: int) -> None:
        """Have all of it in the program's pipe. Raises NotNowError."""
        target = self._logger.ends[stream]
        if not self._stages[stream].deliver(target):
            descriptors.is_ready(target, select.POLLOUT, _PATIENCE)
            if not self._stages[stream].deliver(target):
                raise NotNowError("the logger does not read")

    def _revive(self) -> None:
        if self._logger.is_running():
            return
        if self._started.exists():
            self._owing.touch()
        self._started.touch()
        try:
            if self._logger.start() and self._owing.exists():
                self._mark()
        except OSError as error:
            raise NotNowError(f"the logger cannot be started: {error.strerror}") from error

    def _mark(self) -> None:
        if all(content != AGAIN for *_, content in self._pending):
            self._pending.append((STDERR, _MARK, 0, AGAIN))

    def end(self) -> None:
        """As Sink has it. It is over when the program has read everything and ended."""
        if not self._closing:
            self.flush()
            self._logger.end()
            self._closing = True
            self._keep_all()
        if self._logger.is_running():
            raise NotNowError("the logger has not ended yet")
        if self._logger.unread() and self._tries:
            self._tries -= 1
            self._logger.start()
            raise NotNowError("the logger has ended before the end")
        self._started.unlink(missing_ok=True)

    def close(self) -> None:
        """As Sink has it."""
        self._logger.close()
        for stage in self._stages.values():
            stage.close()


def _base(stage: Input, start: int) -> int:
    """Where the run of bytes began that its pipe was last given from."""
    known = [start]
    for writer in stage.writers:
        with contextlib.suppress(ValueError):
            known.append(int(writer))
    return max(known)
