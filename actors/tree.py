"""The tree: every child specification. This screen is the architecture.

    actord (zygote, the process)
    +- supervisor                 restarted by the zygote itself
       root, one_for_one
       +- router                  the only door
       +- events                  journal of what happened
       +- metadata                images, containers, what is wanted
       +- content                 blobs
       +- snapshots               layers and container roots
       +- volumes                 directories that outlive containers
       +- network                 networks, namespaces, addresses, ports
       +- resolver                names of containers, for containers
       +- bundles                 what a runtime is given: mounts and config.json
       +- collector               garbage: what nothing refers to any more
       +- nodes                   links to other nodes, and what passes over them
       +- metrics                 HTTP /metrics
       +- grpc                    containerd's API
       +- containers, dynamic     container/<namespace>/<id>, lives on when the daemon stops
       +- pullers, dynamic        puller/<namespace>/<transfer>, one per transfer in flight
       +- jobs, dynamic           job/<namespace>/<id>, one per load, save, conversion, commit in flight

one_for_one at the root: each of them finds its own way back from what is durable, and asks the others
again until they answer, so no crash needs to take a neighbour down.
"""

from collections.abc import Mapping
from typing import Final

from actors.actor import program
from actors.bundles import BundlesActor
from actors.collector import CollectorActor
from actors.container import ContainerActor
from actors.content import ContentActor
from actors.events import EventsActor
from actors.gateway.actor import GrpcActor
from actors.job import JobActor
from actors.metadata import MetadataActor
from actors.metrics import MetricsActor
from actors.network import NetworkActor
from actors.nodes.actor import NodesActor
from actors.puller import PullerActor
from actors.resolver import ResolverActor
from actors.router import run as run_router
from actors.snapshots import SnapshotsActor
from actors.supervision.spec import ChildSpec, SupervisorFlags
from actors.supervisor import SupervisorActor
from actors.volumes import VolumesActor
from actors.zygote.birth import Program

CONTAINERS: Final = "containers"
PULLERS: Final = "pullers"
JOBS: Final = "jobs"
SURVIVORS: Final = frozenset({"container"})
"""Kinds that live on when the zygote ends: they hold what a running container needs."""

# A crash is an ordinary event, even by the hundred; what no restart mends fails far faster than this.
# Nor does anyone wait longer than a second for an actor that was killed time and again.
PATIENT: Final = SupervisorFlags(strategy="one_for_one", intensity=100, period=10.0, backoff_limit=1.0)
MANY: Final = SupervisorFlags(strategy="dynamic", intensity=2000, period=10.0, backoff_limit=1.0)


def _worker(name: str) -> ChildSpec:
    return ChildSpec(id=name, kind=name)


TREE: Final = ChildSpec(
    id="root",
    type="supervisor",
    flags=PATIENT,
    children=(
        _worker("router"),
        _worker("events"),
        _worker("metadata"),
        _worker("content"),
        _worker("snapshots"),
        _worker("network"),
        _worker("volumes"),
        _worker("resolver"),
        _worker("bundles"),
        _worker("collector"),
        _worker("nodes"),
        _worker("metrics"),
        _worker("grpc"),
        ChildSpec(
            id=CONTAINERS,
            type="supervisor",
            flags=MANY,
            children=(ChildSpec(id="container", kind="container", restart="transient"),),
        ),
        ChildSpec(
            id=PULLERS,
            type="supervisor",
            flags=MANY,
            children=(ChildSpec(id="puller", kind="puller", restart="transient"),),
        ),
        ChildSpec(
            id=JOBS,
            type="supervisor",
            flags=MANY,
            children=(ChildSpec(id="job", kind="job", restart="transient"),),
        ),
    ),
)

PROGRAMS: Final[Mapping[str, Program]] = {
    "supervisor": program(SupervisorActor),
    "router": run_router,
    "metadata": program(MetadataActor),
    "content": program(ContentActor),
    "snapshots": program(SnapshotsActor),
    "events": program(EventsActor),
    "network": program(NetworkActor),
    "volumes": program(VolumesActor),
    "resolver": program(ResolverActor),
    "bundles": program(BundlesActor),
    "collector": program(CollectorActor),
    "nodes": program(NodesActor),
    "metrics": program(MetricsActor),
    "grpc": program(GrpcActor),
    "puller": program(PullerActor),
    "job": program(JobActor),
    "container": program(ContainerActor),
}
