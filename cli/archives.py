"""Where an archive comes from, and where it goes: a file that appears whole, a pipe, or a directory."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from cli.jobs import STDIN, STDOUT
from cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def is_standard_output(path: str) -> bool:
    """Whether that is where an archive goes: `-`, or a name for what it is, as /dev/stdout."""
    try:
        return path == "-" or os.path.samestat(os.stat(path), os.fstat(STDOUT))  # noqa: PTH116  # beside fstat
    except OSError:
        return False


@contextmanager
def archive(path: str) -> Iterator[tuple[int, bool]]:
    """A descriptor to write to, and whether it is a fresh file; `path` is `-` for standard output.

    What is named otherwise and is our standard output is not opened again, which would write over a file that
    the caller wants to be added to. A new file gets its name when the block ends well.

    Raises:
        UsageError: it is a terminal.
        OSError: it cannot be opened, or renamed.
    """
    if is_standard_output(path):
        if os.isatty(STDOUT):
            raise UsageError(
                "an archive is nothing for a terminal: name a file with -o, or redirect the output"
            )
        yield STDOUT, False
        return
    target = Path(path)
    # A FIFO, a device, or a link to anything. They are not ours to replace.
    if target.is_symlink() or (target.exists() and not target.is_file()):
        with target.open("wb", buffering=0) as stream:
            yield stream.fileno(), False
        return
    fd, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        yield fd, True
        os.fchmod(fd, 0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


@contextmanager
def incoming(path: str) -> Iterator[int]:
    """A descriptor to read from; `path` is `-` for standard input. Raises UsageError, OSError."""
    if path == "-":
        if os.isatty(STDIN):
            raise UsageError("an archive does not come from a terminal: name a file, or redirect the input")
        yield STDIN
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def directory(path: str) -> Iterator[tuple[int, bool]]:
    """A descriptor of a directory, made if need be, and whether it is empty.

    One that was empty is so again when the block fails, and one that was made is not there.
    """
    target = Path(path)
    made = not target.exists()
    target.mkdir(exist_ok=True)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    fresh = made or not any(target.iterdir())
    try:
        yield fd, fresh
    except BaseException:
        if fresh:
            _take_back(fd)
        if made:
            with suppress(OSError):
                target.rmdir()
        raise
    finally:
        os.close(fd)


def _take_back(fd: int) -> None:
    from storage.archive.writing import remove_layout

    with suppress(OSError):
        remove_layout(fd)
