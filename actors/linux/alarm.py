"""A timer that one thread sets and another sleeps on: timerfd(2), which Python 3.11 lacks.

To set it, or to take that back, wakes nobody.
"""

import ctypes
import os
import time

from actors.linux.libc import checked, libc


class _TimerSpec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "after_s", "after_ns")]


class Alarm:
    """Goes off once for each time that it was set, unless it is set anew or taken back before."""

    def __init__(self, seconds: float) -> None:
        """It goes off `seconds` after it was set."""
        whole = int(seconds)
        after = _TimerSpec(after_s=whole, after_ns=int((seconds - whole) * 1e9))
        self._after, self._never = ctypes.byref(after), ctypes.byref(_TimerSpec())
        self._descriptor = checked(libc.timerfd_create, time.CLOCK_MONOTONIC, os.O_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def set(self) -> None:
        """From now on."""
        libc.timerfd_settime(self._descriptor, 0, self._after, None)

    def take_back(self) -> None:
        """Not now."""
        libc.timerfd_settime(self._descriptor, 0, self._never, None)

    def sleep(self) -> None:
        """Until it goes off."""
        os.read(self._descriptor, 8)
