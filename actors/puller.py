"""Puller: one transfer, from a registry to blobs, snapshots and a name.

States: running, then done or failed; ends a moment later. Accepts `transfers.attach` from any number of
clients, who all see the same progress and get the same answer. Restarted by the supervisor unless it ends
by itself; what had arrived is in the ingests, and the next incarnation goes on from there.
"""

import os
import time
from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.transfer import Progress, Transfer
from storage.errors import StorageError
from transport.errors import RemoteError
from transport.registry.errors import RegistryError

LINGER = 2.0  # seconds for a client that is only just coming
TELL_EVERY = 0.1  # seconds between two progress messages


class PullerActor(Actor):
    """One pull."""

    kind = "puller"

    def started(self) -> None:
        """Set to work."""
        self._attached: list[Call] = []
        self._result: Any = None
        self._told_at = 0.0
        self._progress: dict[str, Progress] = {}
        args = self.birth.args
        self._transfer = Transfer(self, args["namespace"], args["reference"], args["platform"])
        self.work(self._transfer.run, self._done)

    def stopping(self) -> None:
        """The ingests keep what has come; nothing to close."""
        os._exit(0)

    def transfers_attach(self, _body: m.TransfersAttach, call: Call) -> Later:
        """See the progress so far, what is to come, and the end."""
        if self._result is not None:
            self._attach_late(call)
            return LATER
        self._attached.append(call)
        for progress in self._progress.values():
            call.part(progress.to_dict())
        return LATER

    def _attach_late(self, call: Call) -> None:
        """The transfer is over; but what it brought may have been removed again since."""
        if isinstance(self._result, Exception):
            call.settle(self._result)
            return
        args = self.birth.args

        def looked(result: Any) -> None:
            if isinstance(result, RemoteError) and result.code == "not_found":
                self._result = None
                self._attached = [call]
                self.work(self._transfer.run, self._done)
            else:
                call.settle(result)

        self.ask(m.ImagesGet(args["namespace"], args["reference"]), looked)

    def moved(self, progress: Progress) -> None:
        """From a worker thread: a layer has come further."""
        now = time.monotonic()
        before = self._progress.get(progress.ref)
        if before and before.status == progress.status and now - self._told_at < TELL_EVERY:
            return
        self._told_at = now
        self._progress[progress.ref] = progress
        self.soon(lambda: self._tell_progress(progress))

    def _tell_progress(self, progress: Progress) -> None:
        for call in self._attached:
            if call.open:
                call.part(progress.to_dict())

    def _done(self, result: Any) -> None:
        if isinstance(result, Exception) and not isinstance(
            result, StorageError | RegistryError | RemoteError
        ):
            raise result
        self._result = result
        if isinstance(result, Exception):
            self.log.warning("%s: %s", self.birth.args["reference"], result)
        for call in self._attached:
            call.settle(result)
        self.later(LINGER, lambda: self._end_with(result))

    def _end_with(self, result: Any) -> None:
        if self._result is result:  # nobody has made us begin again meanwhile
            self.finish()
