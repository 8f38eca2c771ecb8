"""Every service that is served, on one screen."""

from actors.actor import Actor
from actors.gateway.containers import Containers
from actors.gateway.content import Content
from actors.gateway.daemon import Health, Introspection, Version
from actors.gateway.diff import Diff
from actors.gateway.events import Events
from actors.gateway.images import Images
from actors.gateway.namespaces import Leases, Namespaces
from actors.gateway.records import Records
from actors.gateway.snapshots import Snapshots
from actors.gateway.streaming import Streaming, Streams
from actors.gateway.tasks import Tasks
from actors.gateway.transfer import Transfer
from transport.grpc.server import Service


def all_of(actor: Actor, records: Records) -> list[Service]:
    """One of each; they hold no state, so that any number of threads may use them.

    But for the streams that a client has opened for its transfer: those are of this process alone, as the
    client's connection is.
    """
    streams = Streams()
    return [
        Version(actor, records),
        Health(),
        Introspection(actor, records),
        Namespaces(actor, records),
        Leases(actor, records),
        Containers(actor, records),
        Images(actor, records),
        Content(actor, records),
        Snapshots(actor, records),
        Diff(actor, records),
        Tasks(actor, records),
        Events(actor, records),
        Streaming(streams),
        Transfer(actor, records, streams),
    ]
