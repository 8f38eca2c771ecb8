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
    """One container's, from what its actor answers; a number that the kernel does not tell is left out."""
    answer = message("containerd.types.Metric")(id=identity)
    put_time(answer.timestamp, int(found.get("at") or time.time_ns()))
    second = cgroups.detect().kind is cgroups.Kind.V2
    answer.data.type_url = V2 if second else V1
    answer.data.value = (_second(found) if second else _first(found)).SerializeToString()
    return answer


def _first(found: Mapping[str, Any]) -> Any:
    metrics = message(V1)()
    metrics.cpu.usage.total = found.get("cpu_nanoseconds") or 0
    metrics.memory.usage.usage = found.get("memory_bytes") or 0
    metrics.memory.usage.limit = found.get("memory_limit_bytes") or 0
    metrics.pids.current = found.get("pids") or 0
    return metrics


def _second(found: Mapping[str, Any]) -> Any:
    metrics = message(V2)()
    metrics.cpu.usage_usec = (found.get("cpu_nanoseconds") or 0) // 1000
    metrics.memory.usage = found.get("memory_bytes") or 0
    metrics.memory.usage_limit = found.get("memory_limit_bytes") or 0
    metrics.pids.current = found.get("pids") or 0
    return metrics
