"""Standard input of a process: from its writers into a pipe of ours, from there into the process's.

What makes it exact over crashes: a pipe (kept by the zygote too) stands between. Before bytes are written
to it, which happens only when it is empty, it is journalled whose they are; afterwards, how far that writer
has come. Killed between, the next incarnation counts what is in the pipe. From there they are moved by
splice(2): each byte is in our pipe or in the process's, in one of them, once.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from actors.linux import terminal
from actors.linux.descriptors import closed_on_failure

STAGE, STDIN, JOURNAL = "input", "stdin", "input.json"
MOST = 1 << 16  # bytes in one piece, which is what a pipe holds
MOST_WRITERS = 256  # remembered; the one that has been silent longest is forgotten


class Input:
    """Used by one thread at a time."""

    def __init__(self, pipes: Path) -> None:
        """Make what is missing in the directory, open it, and complete what a crash has cut off."""
        pipes.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(pipes / STAGE, 0o600)
        self._journal = pipes / JOURNAL
        with closed_on_failure() as keep:
            self.stage = keep(os.open(pipes / STAGE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC))
            state = self._read()
            self._writers: dict[str, int] = state["writers"]
            self.ended: bool = state["ended"]
            if state["intent"]:
                writer, start = state["intent"]
                self._writers[writer] = start + terminal.waiting(self.stage)
                self._save(None)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._journal.read_bytes())
        except FileNotFoundError:
            return {"writers": {}, "intent": None, "ended": False}
        return found

    def _save(self, intent: tuple[str, int] | None) -> None:
        document = {"writers": self._writers, "intent": intent, "ended": self.ended}
        temporary = self._journal.with_suffix(".new")
        temporary.write_text(json.dumps(document))
        temporary.rename(self._journal)

    @property
    def empty(self) -> bool:
        """Whether the process's pipe has all that was taken."""
        return terminal.waiting(self.stage) == 0

    @property
    def writers(self) -> tuple[str, ...]:
        """Those that are remembered."""
        return tuple(self._writers)

    def taken(self, writer: str) -> int:
        """How many bytes of this writer have been taken."""
        return self._writers.get(writer, 0)

    def take(self, writer: str, offset: int, content: bytes) -> int:
        """Take a piece of a writer, once, however often it is sent; only while `empty`. Returns `taken`.

        Raises:
            ValueError: it begins after what was taken, or is larger than `MOST`.
        """
        before = self.taken(writer)
        if offset > before or len(content) > MOST:
            raise ValueError(f"input of at most {MOST} bytes must go on at offset {before}, not {offset}")
        fresh = content[before - offset :]
        if not fresh:
            return before
        self._save((writer, before))
        count = os.write(self.stage, fresh)
        self._writers.pop(writer, None)
        self._writers[writer] = before + count
        while len(self._writers) > MOST_WRITERS:
            del self._writers[next(iter(self._writers))]
        self._save(None)
        return before + count

    def end(self) -> None:
        """No more is taken."""
        self.ended = True
        self._save(None)

    def deliver(self, target: int) -> bool:
        """Move on what the process's end takes; whether all has gone. Raises OSError: nobody reads there."""
        with contextlib.suppress(BlockingIOError):
            while not self.empty and os.splice(self.stage, target, MOST):
                pass
        return self.empty

    def close(self) -> None:
        """Close the descriptor; pipe and journal stay."""
        os.close(self.stage)


def open_stdin(pipes: Path) -> tuple[int, int]:
    """The FIFO of a process without a terminal: its reading end, and ours to write to.

    The process has the reading end only: it sees the end when the last writer, which is us, has closed.
    """
    path = pipes / STDIN
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    with closed_on_failure() as keep:
        reading = keep(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        writing = keep(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        os.set_blocking(reading, True)
        return reading, writing
