"""Router: the only door. One ROUTER socket through which actors and clients reach each other.

States: none that is durable; what it decides is in transport/switch.py. It has no mailbox beside its
socket and is not a Pykka actor: it only passes on. Ends with SIGTERM. Restarted by the supervisor, always;
then actors announce themselves again and clients reconnect.
"""

from actors import __version__
from actors.zygote.birth import Birth
from actors.zygote.control import Closed
from actors.zygote.place import PROTOCOL
from transport.router import RouterSocket


def run(birth: Birth) -> None:
    """The router's process."""
    welcome: dict[str, object] = {
        "protocol": PROTOCOL,
        "version": __version__,
        "instance": birth.instance,
        "node": birth.settings.node,
        "features": [],
    }
    door = RouterSocket(birth.settings.router_socket, welcome)
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
