"""Version, health, introspection: which daemon this is and what it is made of."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors import __version__
from actors.gateway.translation import Asking
from storage.filters import parse_filters
from storage.image.platform import host_platform
from transport.errors import RemoteError
from transport.grpc.interface import message
from transport.grpc.server import Answer, Call, Service, answers_later

SERVING, SERVICE_UNKNOWN = 1, 3
PLUGINS = (
    ("io.containerd.content.v1", "content"),
    ("io.containerd.snapshotter.v1", "overlayfs"),
    ("io.containerd.snapshotter.v1", "native"),
    ("io.containerd.metadata.v1", "bolt"),
    ("io.containerd.differ.v1", "walking"),
    ("io.containerd.gc.v1", "scheduler"),
    ("io.containerd.runtime.v2", "task"),
    ("io.containerd.streaming.v1", "manager"),
    ("io.containerd.transfer.v1", "local"),
    *(
        ("io.containerd.grpc.v1", name)
        for name in ("containers", "content", "diff", "events", "healthcheck", "images", "introspection",
                     "leases", "namespaces", "snapshots", "streaming", "tasks", "transfer", "version")
    ),
)  # fmt: skip
"""What clients look for, by type and id: most see by these names what the daemon can do."""


def _field(plugin: Mapping[str, str], path: Sequence[str]) -> str | None:
    return plugin.get(path[0]) if path else None


class Version(Asking, Service):
    """containerd.services.version.v1.Version."""

    name = "containerd.services.version.v1.Version"

    def version(self, _request: Any, _: Call) -> Any:
        """Ours, not one of containerd's. Nobody is asked: every process is of one daemon."""
        return message("containerd.services.version.v1.VersionResponse")(
            version=f"actord {__version__}", revision=self.actor.birth.instance
        )


class Health(Service):
    """grpc.health.v1.Health."""

    name = "grpc.health.v1.Health"

    def check(self, request: Any, _: Call) -> Any:
        """Whoever gets an answer at all is served; nothing is known of services one by one."""
        if request.service:
            raise RemoteError("not_found", f"service {request.service[:128]!r} is not known to health")
        return _health(SERVING)

    @answers_later
    def watch(self, request: Any, _: Call, answer: Answer) -> None:
        """The same, for as long as this process lives: nothing changes before that."""
        answer.begin(_health(SERVICE_UNKNOWN if request.service else SERVING))


def _health(status: int) -> Any:
    return message("grpc.health.v1.HealthCheckResponse")(status=status)


class Introspection(Asking, Service):
    """containerd.services.introspection.v1.Introspection."""

    name = "containerd.services.introspection.v1.Introspection"

    def plugins(self, request: Any, _: Call) -> Any:
        """Those of PLUGINS that pass a filter; each is there and well."""
        filters = parse_filters(list(request.filters))
        host = host_platform()
        variant = host.variant if host.architecture.startswith("arm") else ""  # of others it is a level
        platform = message("containerd.types.Platform")(
            os=host.os, architecture=host.architecture, variant=variant
        )
        make = message("containerd.services.introspection.v1.Plugin")
        found = [
            make(type=kind, id=name, platforms=[platform])
            for kind, name in PLUGINS
            if filters.match(partial(_field, {"type": kind, "id": name}))
        ]
        return message("containerd.services.introspection.v1.PluginsResponse")(plugins=found)

    def server(self, _request: Any, _: Call) -> Any:
        """An identity, which stays until the daemon starts anew."""
        answer = message("containerd.services.introspection.v1.ServerResponse")
        known = {field.name for field in answer.DESCRIPTOR.fields}
        more = {"pid": os.getppid(), "pidns": Path("/proc/self/ns/pid").stat().st_ino}
        return answer(
            uuid=self.actor.birth.instance, **{key: value for key, value in more.items() if key in known}
        )
