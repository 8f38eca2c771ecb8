"""systemd's journal, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram a line.

What has been sent is noted after it is: killed between, a line may come twice. Its ACTORD_OFFSET, where it
ends in its stream, tells. While nobody listens, lines wait in the kept output.
"""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from actors import journald
from actors.delivery.sink import Line, Lines, NotNowError, Progress
from actors.runtime.output import NAMES, STDERR, Chunk

_INFORMATION, _ERROR = "6", "3"
_PATIENCE: Final = 0.5  # seconds that a full queue, which holds ten datagrams as a rule, is waited for


class Journal:
    """A sink; see `Sink`."""

    pause: float | None = None

    def __init__(self, directory: Path, address: str, fields: Mapping[str, str]) -> None:
        """`address`: the journal's socket; `fields` go with each line."""
        self._address = address
        self._fields = dict(fields)
        self._progress = Progress(directory / "journal.progress")
        self._noted = dict(self._progress.offsets)
        self._lines = Lines(self._send)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_PATIENCE)

    def taken(self) -> dict[int, int]:
        """As Sink has it."""
        return dict(self._progress.offsets)

    def put(self, chunk: Chunk, content: bytes) -> None:
        """As Sink has it."""
        self._lines.put(chunk, content)

    def _send(self, line: Line) -> None:
        own = {
            "PRIORITY": _ERROR if line.stream == STDERR else _INFORMATION,
            "ACTORD_STREAM": NAMES[line.stream],
            "ACTORD_OFFSET": str(line.end),
            **({"CONTAINER_PARTIAL_MESSAGE": "true"} if line.partial else {}),
        }
        message = line.text.rstrip(b"\n")
        entry = journald.datagram({"MESSAGE": message, **self._fields, **own})
        try:
            self._socket.sendto(entry, self._address)
        except TimeoutError as error:
            raise NotNowError(f"journal {self._address}: does not read") from error
        except OSError as error:  # whatever it is, our end by it would be the next one's too
            raise NotNowError(f"journal {self._address}: {(error.strerror or str(error)).lower()}") from error

    def flush(self) -> None:
        """As Sink has it."""
        try:
            self._lines.flush()
        finally:
            self._progress.offsets.update(self._lines.sent)
            if self._noted != self._progress.offsets:
                self._note()

    def _note(self) -> None:
        """On a full disk nothing goes on: what is not noted would be sent again after a crash."""
        try:
            self._progress.save()
        except OSError as error:
            raise NotNowError(f"what the journal has cannot be noted: {error.strerror or error}") from error
        self._noted = dict(self._progress.offsets)

    def end(self) -> None:
        """As Sink has it."""
        self._lines.complete()
        self.flush()

    def close(self) -> None:
        """As Sink has it."""
        self._socket.close()
