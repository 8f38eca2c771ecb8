"""Work that must change a thread's own kernel state: working directory, mount or network namespace.

Such changes belong to one thread, are never undone, and would poison the thread that carries them. So each
piece of work gets a thread that ends with it. Never used in the zygote, which has exactly one thread.
"""

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from actors.linux.libc import checked, libc

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000

_Result = TypeVar("_Result")


def unshare(flags: int) -> None:
    """Give the calling thread a namespace or working directory of its own, until it ends."""
    checked(libc.unshare, ctypes.c_int(flags))


def in_own_thread(flags: int, work: Callable[[], _Result]) -> _Result:
    """Run `work` in a fresh thread that has unshared `flags`; give its result or raise its exception."""
    results: list[_Result] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            unshare(flags)
            results.append(work())
        except BaseException as failure:  # noqa: BLE001  (raised again in the caller's thread)
            failures.append(failure)

    thread = threading.Thread(target=body, name="unshared", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
