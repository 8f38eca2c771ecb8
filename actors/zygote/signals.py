"""Signals to the zygote: they leave word and end its wait, and nothing is done in a handler."""

import selectors
import signal
import socket


class Signals:
    """What they have said.

    Attributes:
        child_exited: a child may have exited. The kernel looks at all children when it is asked who, so it is
            asked only then.
        stop_wanted: somebody wants us to stop.
    """

    def __init__(self) -> None:
        """Before the first signal: a child may have exited already."""
        self.child_exited = True
        self.stop_wanted = False

    def listen(self, selector: selectors.BaseSelector) -> None:
        """From now on each ends the wait of `selector`."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        stops = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup has it
            stops.append(signal.SIGHUP)  # a terminal that goes must not end us in disorder
        for number in stops:
            signal.signal(number, lambda *_: self._want_stop())
        selector.register(ours, selectors.EVENT_READ, lambda: self._note(ours))
        self._ends = (ours, theirs)

    def _note(self, ours: socket.socket) -> None:
        ours.recv(4096)
        self.child_exited = True

    def _want_stop(self) -> None:
        self.stop_wanted = True

    def close(self) -> None:
        """Nobody listens any more; the other end stays: a late signal is still written to it."""
        self._ends[0].close()
