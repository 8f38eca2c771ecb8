"""pidfd_getfd(2): a descriptor that another process has open, as our own.

How the command line hands over a file or pipe: bytes never pass through a mailbox, and paths mean what they
mean where it runs. Whoever names a descriptor also says which file it is, so that no other one is ever taken.
"""

import ctypes
import errno
import os
from dataclasses import dataclass

from actors.linux.libc import checked, libc
from storage.errors import FailedPreconditionError

_SYS_PIDFD_GETFD = 438  # the same number on every architecture


@dataclass(frozen=True, slots=True)
class Lent:
    """A descriptor of process `pid`, and the device and inode of what it is.

    Attributes:
        at: where the process stood in a regular file; -1 for what is none, or if it did not say.
    """

    pid: int
    fd: int
    dev: int
    ino: int
    at: int = -1


def borrow(lent: Lent) -> int:
    """Our own close-on-exec descriptor of the same open file.

    Raises:
        FailedPreconditionError: the process is gone, may not be asked, or has another file there.
    """
    try:
        pidfd = os.pidfd_open(lent.pid)
        try:
            number = ctypes.c_long(_SYS_PIDFD_GETFD)
            taken = checked(libc.syscall, number, pidfd, ctypes.c_int(lent.fd), ctypes.c_uint(0))
        finally:
            os.close(pidfd)
    except OSError as error:
        reason = "it has ended" if error.errno == errno.ESRCH else (error.strerror or str(error)).lower()
        raise FailedPreconditionError(
            f"cannot take descriptor {lent.fd} of process {lent.pid}: {reason}"
        ) from error
    status = os.fstat(taken)
    if (status.st_dev, status.st_ino) != (lent.dev, lent.ino):
        os.close(taken)
        text = f"descriptor {lent.fd} of process {lent.pid} is another file; use the daemon's pid namespace"
        raise FailedPreconditionError(text)
    return taken
