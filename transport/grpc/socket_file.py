"""The place of a Unix socket: what a crash has left there goes, and whatever else there is stays."""

import errno
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")  # unix(7), SO_PEERCRED: pid, uid, gid


def clear(address: Path) -> None:
    """Take away a socket that a crash has left there.

    Raises:
        OSError: somebody listens there, or it is not a socket that is in the way.
    """
    try:
        mode = address.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "what is there is not a socket", str(address))
    _refuse_listener(address)
    address.unlink()


def reason(address: Path) -> OSError:
    """Why a socket could not be bound there, by whoever does not say it.

    Found out by trying, which is not done before: who waits for the socket would see one that nobody serves.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(os.fspath(address))
        except OSError as error:
            return error
    address.unlink()
    return OSError(errno.EADDRINUSE, "it was somebody else's a moment ago", str(address))


def _refuse_listener(address: Path) -> None:
    """Whoever once listened may have died, and a child of it have the socket still: that is nobody."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.setblocking(False)
        try:
            caller.connect(os.fspath(address))
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "somebody listens there", str(address)) from None
        except OSError:
            return
        found = caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid = _CREDENTIALS.unpack(found)[0]
    if pid == 0 or Path(f"/proc/{pid}").exists():  # 0: of another pid namespace
        raise OSError(errno.EADDRINUSE, f"process {pid} listens there", str(address))
