"""The cgroups above a container's own, of a parent that its user chose: who made them removes them.

A runtime makes what is missing on the way to a container's cgroup, and nobody takes that away again. What was
missing is noted down before, in one file for all containers; what was there before is its user's, with the
limits that it has, and stays. Whoever comes to make a cgroup holds a lock with the others who do; who takes
empty ones away has to have it alone, and else leaves them to those others, who will end as well.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from actors.linux import cgroups
from actors.linux.cgroups import Layout

NOTES: Final = "made"  # paths, each followed by END: a path may have anything else in it
LOCK: Final = "lock"
END: Final = "\0"


class Parents:
    """Of one container; `directory` has the notes of all."""

    def __init__(self, directory: Path, layout: Layout) -> None:
        self._directory = directory
        self._layout = layout

    @contextlib.contextmanager
    def entered(self, cgroups_path: str) -> Iterator[None]:
        """While a runtime makes the container's cgroup. Raises OSError: the notes cannot be written."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(fcntl.LOCK_SH):
            missing = [path for path in self._above(cgroups_path) if not path.exists()]
            with (self._directory / NOTES).open("a") as notes:
                notes.write("".join(f"{path}{END}" for path in missing))
            yield

    def _above(self, cgroups_path: str) -> list[Path]:
        """In each hierarchy, all cgroups between its top and the container's."""
        between = list(PurePosixPath(cgroups_path).parents)[:-1]
        return [path for one in between for path in cgroups.directories(self._layout, str(one))]

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Raises BlockingIOError, with LOCK_NB."""
        descriptor = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)

    def leave(self) -> None:
        """Take away what was made and is empty, for whichever container that was; else at the next end."""
        with (
            contextlib.suppress(OSError),
            self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            notes = self._directory / NOTES
            made = {Path(one) for one in notes.read_text().split(END)[:-1]}  # not one that is cut off
            left = [path for path in sorted(made, key=lambda path: -len(path.parts)) if not _is_gone(path)]
            if left:
                fresh = notes.with_suffix(".new")
                fresh.write_text("".join(f"{path}{END}" for path in left))
                fresh.replace(notes)
            else:
                notes.unlink()


def _is_gone(path: Path) -> bool:
    """Once it is taken away, unless it is still in use."""
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
