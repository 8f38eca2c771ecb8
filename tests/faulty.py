"""The calls of `os` that change files, of which one goes wrong: it kills, or it fails with an errno."""

from __future__ import annotations

import functools
import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

CHANGING = (
    "open",
    "write",
    "pwrite",
    "fsync",
    "mkdir",
    "rename",
    "unlink",
    "rmdir",
    "ftruncate",
    "chmod",
    "fchmod",
    "fchown",
    "chown",
    "setxattr",
    "utime",
    "symlink",
    "link",
    "mknod",
    "sendfile",
)


class Faulty:
    """Counts them from 1; number `at` kills, before or after its work, where `fault` is None."""

    def __init__(
        self, patch: pytest.MonkeyPatch, at: int, fault: int | None = None, *, after: bool = False
    ) -> None:
        self.at, self.fault, self.after = at, fault, after
        self.calls = 0
        for name in CHANGING:
            patch.setattr(os, name, functools.partial(self._call, getattr(os, name)))

    def _call(self, real: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls != self.at:
            return real(*args, **kwargs)
        if self.fault is not None:
            raise OSError(self.fault, os.strerror(self.fault))
        try:
            if self.after:
                real(*args, **kwargs)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a dead process goes on")

    @property
    def reached(self) -> bool:
        """Whether there was a call of that number."""
        return self.calls >= self.at
