"""What a container uses, under the names of containerd's metrics. Pure.

The names are containerd 1.6's for both versions of control groups, so that its dashboards and rules work
unchanged; what never falls is a counter here, and a gauge there. One name differs: containerd writes
`memory_swap_Limit` of version 2 with a capital, which is a slip of theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

PREFIX: Final = "container"
GAUGES: Final = frozenset({"blkio_io_queued_recursive_total"})
"""Those that may fall, whatever their names say."""
_CPU_V1: Final = (("total", "total"), ("kernel", "kernel"), ("user", "user"))
_THROTTLING: Final = (
    ("periods", "cpu_throttle_periods_total"),
    ("throttled_periods", "cpu_throttled_periods_total"),
    ("throttled_time", "cpu_throttled_time_nanoseconds"),
)
_MEMORY_V1: Final = {
    "pg_pg_in": "pgpgin", "pg_pg_out": "pgpgout", "pg_fault": "pgfault", "pg_maj_fault": "pgmajfault",
    "hierarchical_swap_limit": "hierarchical_memsw_limit",
}  # fmt: skip
_BLOCK: Final = {
    "io_merged_recursive": "total",
    "io_queued_recursive": "total",
    "io_service_bytes_recursive": "bytes",
    "io_service_time_recursive": "total",
    "io_serviced_recursive": "total",
    "io_time_recursive": "total",
    "sectors_recursive": "total",
}
_CPU_V2: Final = {
    "usage_usec": "cpu_usage_usec_microseconds",
    "user_usec": "cpu_user_usec_microseconds",
    "system_usec": "cpu_system_usec_microseconds",
    "nr_periods": "cpu_nr_periods_total",
    "nr_throttled": "cpu_nr_throttled_total",
    "throttled_usec": "cpu_throttled_usec_microseconds",
}
_IO_V2: Final = {
    "rbytes": "io_rbytes_bytes",
    "wbytes": "io_wbytes_bytes",
    "rios": "io_rios_total",
    "wios": "io_wios_total",
}


class Sample(NamedTuple):
    """One number: its metric's name without the prefix, and labels beside those of every container."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


def samples(figures: Mapping[str, Any]) -> Iterator[Sample]:
    """All that `cgroup_figures.figures` has found, of either version."""
    for key, value in figures["pids"].items():
        yield Sample(f"pids_{key}", value)
    yield from _second(figures) if "io" in figures else _first(figures)


def _first(figures: Mapping[str, Any]) -> Iterator[Sample]:
    usage = figures["cpu"]["usage"]
    for key, name in _CPU_V1:
        if key in usage:
            yield Sample(f"cpu_{name}_nanoseconds", usage[key])
    for number, value in enumerate(usage["per_cpu"]):
        yield Sample("per_cpu_nanoseconds", value, (("cpu", str(number)),))
    throttling = figures["cpu"]["throttling"]
    yield from (Sample(name, throttling[key]) for key, name in _THROTTLING if key in throttling)
    yield from _first_memory(figures["memory"])
    if "oom_kill" in (control := figures["memory_oom_control"]):
        yield Sample("memory_oom_total", control["oom_kill"])
    yield from _huge(
        figures["hugetlb"], {"usage": "usage_bytes", "failcnt": "failcnt_total", "max": "max_bytes"}
    )
    for key, unit in _BLOCK.items():
        for entry in figures["blkio"][key]:
            labels = [(label, str(entry[label])) for label in ("op", "device", "major", "minor")]
            yield Sample(f"blkio_{key}_{unit}", entry["value"], tuple(labels))


def _first_memory(memory: Mapping[str, Any]) -> Iterator[Sample]:
    for key, value in memory.items():
        if isinstance(value, dict):
            yield from (Sample(_of_part(key, inner), number) for inner, number in value.items())
        else:
            yield Sample(_of_memory(key), value)


@cache
def _of_part(part: str, key: str) -> str:
    unit = "failcnt_total" if key == "failcnt" else f"{key}_bytes"
    return f"memory_{part.replace('_', '')}_{unit}"


@cache
def _of_memory(key: str) -> str:
    total = "total_" if key.startswith("total_") else ""
    name = key.removeprefix("total_")
    return f"memory_{total}{_MEMORY_V1.get(name, name)}_bytes"


def _second(figures: Mapping[str, Any]) -> Iterator[Sample]:
    yield from (Sample(name, figures["cpu"][key]) for key, name in _CPU_V2.items() if key in figures["cpu"])
    yield from (Sample(f"memory_{key}_bytes", value) for key, value in figures["memory"].items())
    if "oom" in (events := figures["memory_events"]):
        yield Sample("memory_oom_total", events["oom"])
    for entry in figures["io"]["usage"]:
        labels = tuple((label, str(entry[label])) for label in ("major", "minor"))
        yield from (Sample(name, entry[key], labels) for key, name in _IO_V2.items() if key in entry)
    yield from _huge(figures["hugetlb"], {"current": "usage_bytes", "max": "max_bytes"})


def _huge(entries: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Sample]:
    for entry in entries:
        for key, name in names.items():
            if key in entry:
                yield Sample(f"hugetlb_{name}", entry[key], (("page", entry["pagesize"]),))
