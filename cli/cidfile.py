"""The file that `--cidfile` names: it has the id of the container that is being created, before that is.

So whoever is killed in between leaves an id of nothing, and not a container that nobody finds.
"""

from __future__ import annotations

import contextlib
import os

from cli.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def written(path: str, identity: str) -> Iterator[None]:
    """For a block that creates it; the file goes again if that fails. Raises UsageError, OSError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        text = f"--cidfile {path} is there already: remove it, if its container is not needed any more"
        raise UsageError(text) from None
    try:
        os.write(descriptor, identity.encode())
        yield
    except BaseException:
        os.unlink(path)  # noqa: PTH108  # pathlib is 4 ms
        raise
    finally:
        os.close(descriptor)
