"""A terminal's window size, and how much waits in a pipe: ioctls of descriptors."""

import fcntl
import struct
import termios

_SIZE = struct.Struct("=HHHH")  # rows, columns, and two in pixels that nobody uses
_COUNT = struct.Struct("=i")


def set_window_size(terminal: int, rows: int, columns: int) -> None:
    """Set it; the kernel sends SIGWINCH to the foreground process group when it has changed.

    Raises:
        OSError: it is no terminal.
    """
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))


def window_size(terminal: int) -> tuple[int, int]:
    """Rows and columns. Raises OSError."""
    rows, columns, _, _ = _SIZE.unpack(fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(_SIZE.size)))
    return rows, columns


def waiting(pipe: int) -> int:
    """How many bytes are in a pipe (FIONREAD)."""
    count: int = _COUNT.unpack(fcntl.ioctl(pipe, termios.FIONREAD, bytes(_COUNT.size)))[0]
    return count
