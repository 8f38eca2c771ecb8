"""Puller: one transfer, from a registry to blobs, snapshots and a name.

States: running, then done or failed; ends a moment later. Accepts `transfers.attach` from any number of
clients, who all see the same progress and get the same answer. Restarted by the supervisor unless it ends
by itself; what had arrived is in the ingests, and the next incarnation goes on from there.
"""

from typing import Any

from actors import messages as m
from actors.call import Call, Later
from actors.inflight import InFlight
from actors.transfer import Transfer
from transport.errors import RemoteError


class PullerActor(InFlight):
    """One pull."""

    kind = "puller"

    def started(self) -> None:
        """Set to work."""
        args = self.birth.args
        self.about = args["reference"]
        self._transfer = Transfer(self, args["namespace"], args["reference"], args["platform"])
        self.begin_work()

    def perform(self) -> Any:
        """Pull."""
        return self._transfer.run()

    def transfers_attach(self, _body: m.TransfersAttach, call: Call) -> Later:
        """See the progress so far, what is to come, and the end."""
        return self.attach(call)

    def attach_late(self, call: Call, result: Any) -> None:
        """The transfer is over; but what it brought may have been removed again since."""
        if isinstance(result, Exception):
            call.settle(result)
            return
        args = self.birth.args

        def looked(found: Any) -> None:
            if isinstance(found, RemoteError) and found.code == "not_found":
                self.work_again(call)
            else:
                call.settle(found)

        self.ask(m.ImagesGet(args["namespace"], args["reference"]), looked)
