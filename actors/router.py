"""Router: the only door. A Unix socket through which actors and clients reach each other.

Clients of other hosts, who have keys, come in by one on TCP.

States: none that is durable; its loop is in transport/router.py, what it decides in transport/switch.py. It
has no mailbox and is not a Pykka actor: it only passes on. Ends with SIGTERM. Restarted by the supervisor,
always; then actors announce themselves again and clients reconnect.
"""

import logging

from actors import __version__
from actors.roles import is_audited, refusal
from actors.settings import Settings
from actors.zygote.birth import Birth
from actors.zygote.control import Closed
from actors.zygote.place import PROTOCOL
from storage.errors import StorageError
from transport.router import RouterSocket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from transport.outer import OuterDoor

log = logging.getLogger("router")


def run(birth: Birth) -> None:
    """The router's process."""
    welcome: dict[str, object] = {
        "protocol": PROTOCOL,
        "version": __version__,
        "instance": birth.instance,
        "node": birth.settings.node,
        "features": [],
    }
    settings = birth.settings
    door = RouterSocket(settings.router_socket, welcome, _outer(settings) if settings.listen else None)
    birth.control.send(op="ready")

    def on_control() -> bool:
        try:
            if birth.control.receive().get("op") == "ping":
                birth.control.send(op="pong")  # this loop is all there is of us
        except Closed:  # the zygote is gone, and with it whoever would restart us
            return False
        return True

    door.run(birth.control.fileno(), on_control)
    door.close()


def _outer(settings: Settings) -> "OuterDoor | None":
    """None without keys of our own: that must not keep those of this host from their daemon."""
    from transport.keys import KeyRing  # noqa: PLC0415  # ZeroMQ, for this alone
    from transport.outer import OuterDoor, Policy  # noqa: PLC0415

    ring = KeyRing(settings.keys)
    try:
        ring.server()
    except StorageError as error:
        text = "nobody of other hosts is let in at %s until the daemon is started again: %s"
        log.error(text, settings.listen, error)  # noqa: TRY400  # a line says it
        return None
    return OuterDoor(settings.listen, ring, Policy(refusal, is_audited))
