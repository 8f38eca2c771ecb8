"""Every service that is served, on one screen."""

from actors.actor import Actor
from actors.gateway.containers import Containers
from actors.gateway.content import Content
from actors.gateway.daemon import Health, Introspection, Version
from actors.gateway.diff import Diff
from actors.gateway.events import Events
from actors.gateway.images import Images
from actors.gateway.namespaces import Leases, Namespaces
from actors.gateway.snapshots import Snapshots
from actors.gateway.streaming import Streaming, Streams
from actors.gateway.tasks import Tasks
from actors.gateway.transfer import Transfer
from transport.grpc.server import Service


def all_of(actor: Actor) -> list[Service]:
    """One of each; they hold no state, so that any number of threads may use them.

    But for the streams that a client has opened for its transfer: those are of this process alone, as the
    client's connection is.
    """
    streams = Streams()
    return [
        Version(actor),
        Health(),
        Introspection(actor),
        Namespaces(actor),
        Leases(actor),
        Containers(actor),
        Images(actor),
        Content(actor),
        Snapshots(actor),
        Diff(actor),
        Tasks(actor),
        Events(actor),
        Streaming(streams),
        Transfer(actor, streams),
    ]
