"""The system's clock, as far as the kernel knows how good it is: adjtimex(2)."""

import ctypes

from actors.linux.libc import libc

_TIME_ERROR = 5  # what it returns while nothing keeps the clock right
_TIMEX_SIZE = 208  # bytes of struct timex on 64-bit Linux; all zeros changes nothing


def is_synchronised() -> bool | None:
    """Whether something keeps the clock right; None where the kernel does not say."""
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_SIZE))
    return None if state < 0 else state != _TIME_ERROR
