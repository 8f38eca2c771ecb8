"""Ends a wait of poll(2) from another thread, or from a signal's handler: without a lock."""

import os


class Wakeup:
    """Ends the pump's wait from another thread, or from a signal's handler: without a lock.

    Attributes:
        awaited: whether the pump waits, or is about to. If not, it looks at what is queued before it does.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._rung = self.awaited = False

    def __del__(self) -> None:
        os.close(self.descriptor)  # not before: a late ring would write to somebody else's descriptor

    def ring(self) -> None:
        """Call this after queuing what the pump shall see. One that has not been answered yet is enough."""
        if self.awaited and not self._rung:
            self._rung = True
            os.eventfd_write(self.descriptor, 1)

    def drain(self) -> None:
        """Answer; call this before looking at what was queued."""
        os.eventfd_read(self.descriptor)
        self._rung = False
