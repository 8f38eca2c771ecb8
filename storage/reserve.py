"""Room that a store keeps for the day on which its file system is full.

A record is deleted by writing to its database, which may need room for that. Who has to make room finds some.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

BYTES: Final = 1 << 20
ENOUGH: Final = 64 << 20  # bytes that are free besides, before it is kept anew


class Reserve:
    """A file of blocks, given up when there is no room, and made again when there is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keep()

    def _keep(self) -> None:
        self.is_kept = False
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, BYTES)
                self.is_kept = True
            finally:
                os.close(descriptor)
                if not self.is_kept:
                    self.spend()

    def spend(self) -> None:
        """Let others have it: whoever tries again now may succeed."""
        self.is_kept = False
        with suppress(OSError):
            self._path.unlink()

    def renew(self) -> None:
        """Keep it again, if it was spent and there is more than enough room."""
        if self.is_kept:
            return
        with suppress(OSError):
            found = os.statvfs(self._path.parent)
            if found.f_bavail * found.f_frsize > ENOUGH:
                self._keep()
