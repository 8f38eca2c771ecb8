"""Puller: one transfer, between a registry and the stores: a pull, a push, a copy, or a question.

States: waiting for somebody to attach, running, then done or failed; ends a moment later. It waits where a
login was promised, and as a later incarnation: whoever waited for the last one is about to be back.
Accepts `transfers.attach` from any number of clients, who all see the same progress and get the same answer;
when the last of them no longer wants it, it ends and leaves what can be resumed. Restarted by the supervisor
unless it ends by itself: what had arrived is in the ingests, and the next incarnation goes on from there.

A login that came with a request lives in this process alone, and as long as it: no other actor, no journal
and no argument of a process ever holds it. After a crash the client attaches again and brings it again.
"""

from collections.abc import Mapping
from typing import Any

from actors import messages as m
from actors.call import Call, Later
from actors.inflight import COMING_BACK, EXPECTED, AbandonedError, InFlight
from actors.transfers.tasks import task
from actors.transfers.transfer import Transfer
from transport.registry.credentials import Login

ABANDON_LIMIT = 3.0  # seconds for the work to wind down; it may be stuck in a connection


class PullerActor(InFlight):
    """One transfer."""

    kind = "puller"

    def started(self) -> None:
        """Set to work, or wait for whoever wants it."""
        self.about = self.birth.args["reference"]
        self._transfer: Transfer | None = None
        self._logins: Mapping[str, Login] = {}
        self.hold_work()
        if self.birth.args.get("brings_login") or self.birth.inc > 1:
            self.later(COMING_BACK, self.end_unless_wanted)
        else:
            self.set_to_work()

    def set_to_work(self) -> None:
        """Each attempt can be cancelled by itself."""
        self._transfer = Transfer(self, self._logins)
        super().set_to_work()

    def perform(self) -> Any:
        """What the arguments ask for."""
        transfer = self._transfer
        if transfer is None:
            raise AbandonedError
        outcome = "internal"
        try:
            result = task(transfer, self.birth.args)()
        except EXPECTED as error:
            outcome = "cancelled" if transfer.is_cancelled else error.code
            if transfer.is_cancelled:
                raise AbandonedError from error
            raise
        else:
            outcome = "ok"
            return result
        finally:
            transfer.client.close()
            transfer.tally.end(outcome)

    def transfers_attach(self, body: m.TransfersAttach, call: Call) -> Later:
        """See the progress so far, what is to come, and the end."""
        if self._transfer is None or (self.is_over and self.answered):
            self._logins = {host: _login(given) for host, given in body.logins.items()}
        later = self.attach(call)
        if self._transfer is None:
            self.set_to_work()
        return later

    def abandoned(self) -> None:
        """Whoever else wants a blob of it takes over where it ends."""
        transfer = self._transfer
        if transfer is None:
            self.finish()
            return
        transfer.cancel()

        def give_up() -> None:
            if self._transfer is transfer and not self.is_wanted:
                self.finish()

        self.later(ABANDON_LIMIT, give_up)

    def attach_late(self, call: Call, result: Any) -> None:
        """The first to come after the end was on the way; whoever comes later wants it done anew.

        Registries change, images are removed, logins are corrected: what was answered is the past.
        """
        if self.answered:
            self.work_again(call)
        else:
            self.answered = True
            call.settle(result)


def _login(given: Mapping[str, str]) -> Login:
    return Login(given.get("username", ""), given.get("password", ""), given.get("identity_token", ""))
