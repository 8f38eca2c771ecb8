"""Docker's json-file: one object a line, `{"log": "text", "stream": "stdout", "time": "..."}`.

`json.log` lies beside the kept output; rotated, it becomes json.log.1 and so on. How far it has come is noted
with the size of the file then: what a crash has left behind that size is cut off and written again, so that
each line is there once.
"""

import json
import os
import time
from pathlib import Path
from typing import Final

from actors.delivery.sink import Line, Lines, NotNowError, Progress
from actors.runtime.cutting import Limits
from actors.runtime.output import NAMES, Chunk

NAME: Final = "json.log"
_SECOND: Final = 10**9


class JsonFile:
    """A sink; see `Sink`."""

    pause: float | None = None

    def __init__(self, directory: Path, limits: Limits | None) -> None:
        """Open it where the last one has stopped."""
        self._path = directory / NAME
        self._limits = limits
        self._progress = Progress(directory / "json.progress")
        self._lines = Lines(self._collect)
        self._batch = bytearray()
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        noted = int(self._progress.more.get("size", 0))
        self._size = min(noted, os.fstat(self._file).st_size)
        os.ftruncate(self._file, self._size)

    def taken(self) -> dict[int, int]:
        """As Sink has it."""
        return dict(self._progress.offsets)

    def put(self, chunk: Chunk, content: bytes) -> None:
        """As Sink has it."""
        self._lines.put(chunk, content)

    def _collect(self, line: Line) -> None:
        seconds, rest = divmod(line.at, _SECOND)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"
        text = line.text.decode(errors="replace")
        item = {"log": text, "stream": NAMES[line.stream], "time": at}
        self._batch += json.dumps(item, ensure_ascii=False).encode() + b"\n"

    def flush(self) -> None:
        """As Sink has it."""
        self._lines.flush()
        if not self._batch:
            return
        try:
            self._write()
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise NotNowError(f"{self._path}: {(error.strerror or str(error)).lower()}") from error

    def _write(self) -> None:
        if self._limits is not None and self._size and self._size + len(self._batch) > self._limits.size:
            self._rotate(self._limits.count)
        view = memoryview(bytes(self._batch))
        while view:
            view = view[os.write(self._file, view) :]
        self._progress.offsets.update(self._lines.sent)
        self._progress.more["size"] = self._size + len(self._batch)
        self._progress.save()
        self._size = int(self._progress.more["size"])
        self._batch.clear()

    def _rotate(self, count: int) -> None:
        """Killed before the note, the next one begins the new file; nothing is written before it.

        Without room for the note or the new file it is tried again: what was moved is not moved once more.
        """
        names = [self._path, *(self._path.with_name(f"{NAME}.{number}") for number in range(1, count))]
        if self._path.exists():
            names[-1].unlink(missing_ok=True)
            for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
                if newer.exists():
                    newer.rename(older)
        self._progress.more["size"] = 0
        self._progress.save()
        rotated = self._file
        self._open()
        os.close(rotated)

    def end(self) -> None:
        """As Sink has it."""
        self._lines.complete()
        self.flush()

    def close(self) -> None:
        """As Sink has it."""
        os.close(self._file)
