"""What containers use, as containerd's clients know it: types of the cgroup version that the host has."""

import time
from collections.abc import Mapping
from typing import Any, Final

from actors.gateway.translation import put_time
from actors.linux import cgroups
from transport.grpc.interface import message

V1: Final = "io.containerd.cgroups.v1.Metrics"
V2: Final = "io.containerd.cgroups.v2.Metrics"


def metric(identity: str, found: Mapping[str, Any]) -> Any:
    """One container's, from what its actor answers."""
    answer = message("containerd.types.Metric")(id=identity)
    put_time(answer.timestamp, int(found.get("at") or time.time_ns()))
    answer.data.type_url = V2 if cgroups.mounted().kind is cgroups.Kind.V2 else V1
    answer.data.value = metrics(answer.data.type_url, found["figures"]).SerializeToString()
    return answer


def metrics(name: str, figures: Mapping[str, Any]) -> Any:
    """The message; each part that is there is set, even if it is empty: clients look into it unasked."""
    return message(name)(**figures)
