"""A function of a test in a process of its own, which the test may kill at any moment."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class Forked:
    """Runs `function` in a forked child; its exit code is 0, or 1 after an exception."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                function()
                code = 0
            except BaseException:  # noqa: BLE001  # nothing of the test's process may go on in here
                traceback.print_exc()
            finally:
                os._exit(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self) -> int:
        """Exit code, negative for a signal."""
        if self.status is None:
            self.status = os.waitpid(self.pid, 0)[1]
        return os.waitstatus_to_exitcode(self.status)

    def end(self) -> int:
        self.kill()
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
