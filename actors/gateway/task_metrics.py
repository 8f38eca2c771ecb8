"""What containers use, as containerd's clients know it: types of the cgroup version that the host has."""

import time
from collections.abc import Mapping
from typing import Any, Final

from actors.gateway.translation import put_time
from actors.linux import cgroups
from actors.linux.cgroup_figures import figures
from actors.overview import place
from actors.settings import Settings
from transport.grpc.interface import message

V1: Final = "io.containerd.cgroups.v1.Metrics"
V2: Final = "io.containerd.cgroups.v2.Metrics"


def measured(settings: Settings, container: Mapping[str, Any]) -> Any:
    """containerd.types.Metric of one on record, from its control groups as they are now."""
    layout = cgroups.mounted()
    answer = message("containerd.types.Metric")(id=container["id"])
    put_time(answer.timestamp, time.time_ns())
    answer.data.type_url = V2 if layout.kind is cgroups.Kind.V2 else V1
    found = figures(layout, place(settings, container))
    answer.data.value = metrics(answer.data.type_url, found).SerializeToString()
    return answer


def metrics(name: str, known: Mapping[str, Any]) -> Any:
    """The message; each part that is there is set, even if it is empty: clients look into it unasked."""
    return message(name)(**known)
