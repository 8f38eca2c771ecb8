"""All that the kernel tells of a control group, in the words and the shape of containerd's `Metrics`.

Two messages of containerd, one for each version of control groups, are what its clients read. Their parts
are always there, even where the kernel tells nothing: clients take them for granted. A number that the kernel
does not tell is left out, a limit that is none is left out too.
"""

import contextlib
import functools
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Final

from actors.linux.cgroups import Kind, Layout

_MOST_BYTES: Final = 1 << 20
_PIECE: Final = 1 << 14
_NOWHERE: Final = "/nonexistent"
_NANOSECONDS: Final = 10**9
_V1_NAMES: Final = {
    "pgpgin": "pg_pg_in",
    "pgpgout": "pg_pg_out",
    "pgfault": "pg_fault",
    "pgmajfault": "pg_maj_fault",
    "hierarchical_memsw_limit": "hierarchical_swap_limit",
}
_V1_MEMORY: Final = frozenset(
    f"{total}{name}"
    for total in ("", "total_")
    for name in ("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pg_pg_in", "pg_pg_out",
                 "pg_fault", "pg_maj_fault", "inactive_anon", "active_anon", "inactive_file", "active_file",
                 "unevictable")
) | {"hierarchical_memory_limit", "hierarchical_swap_limit"}  # fmt: skip
_V2_MEMORY: Final = frozenset(
    ("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback",
     "anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable",
     "slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault",
     "workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate",
     "pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc")
)  # fmt: skip
_V2_CPU: Final = ("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")
_V2_EVENTS: Final = ("low", "high", "max", "oom", "oom_kill")
_BLOCK: Final = {
    "io_service_bytes_recursive": "io_service_bytes",
    "io_serviced_recursive": "io_serviced",
    "io_queued_recursive": "io_queued",
    "io_service_time_recursive": "io_service_time",
    "io_wait_time_recursive": "io_wait_time",
    "io_merged_recursive": "io_merged",
    "io_time_recursive": "time",
    "sectors_recursive": "sectors",
}
"""Lists of the message, and the kernel's files of them without `blkio.` and `_recursive`."""


def figures(layout: Layout, cgroups_path: str) -> dict[str, Any]:
    """What the container uses now."""
    relative = cgroups_path.lstrip("/")
    if layout.kind is Kind.V2:
        return _second(f"{layout.root}/{relative}")
    return _first({name: f"{top}/{relative}" for name, top in layout.controllers.items()})


def _first(where: Mapping[str, str]) -> dict[str, Any]:
    """`io.containerd.cgroups.v1.Metrics`."""
    pids, memory = where.get("pids", _NOWHERE), where.get("memory", _NOWHERE)
    return {
        "pids": _numbers(pids, {"current": "pids.current", "limit": "pids.max"}),
        "cpu": _first_cpu(where.get("cpu", _NOWHERE), where.get("cpuacct", _NOWHERE)),
        "memory": _first_memory(memory),
        "memory_oom_control": _fields(f"{memory}/memory.oom_control"),
        "blkio": _blocks(where.get("blkio", _NOWHERE)),
        "hugetlb": list(_first_huge(where.get("hugetlb", _NOWHERE))),
    }


def _first_cpu(cpu: str, account: str) -> dict[str, Any]:
    ticks = _NANOSECONDS // os.sysconf("SC_CLK_TCK")
    spent = {name: count * ticks for name, count in _fields(f"{account}/cpuacct.stat").items()}
    usage: dict[str, Any] = _numbers(account, {"total": "cpuacct.usage"})
    for name, kernel in (("kernel", "system"), ("user", "user")):
        if kernel in spent:
            usage[name] = spent[kernel]
    usage["per_cpu"] = [int(word) for word in _text(f"{account}/cpuacct.usage_percpu").split()]
    names = {"nr_periods": "periods", "nr_throttled": "throttled_periods", "throttled_time": "throttled_time"}
    throttling = {names[key]: value for key, value in _fields(f"{cpu}/cpu.stat").items() if key in names}
    return {"usage": usage, "throttling": throttling}


def _first_memory(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in _fields(f"{directory}/memory.stat").items():
        renamed = _renamed(key)
        if renamed in _V1_MEMORY:
            found[renamed] = value
    parts = (("usage", ""), ("swap", ".memsw"), ("kernel", ".kmem"), ("kernel_tcp", ".kmem.tcp"))
    for part, middle in parts:
        files = {"usage": "usage_in_bytes", "limit": "limit_in_bytes", "max": "max_usage_in_bytes"}
        files["failcnt"] = "failcnt"
        found[part] = _numbers(directory, {key: f"memory{middle}.{file}" for key, file in files.items()})
    return found


@functools.cache
def _renamed(key: str) -> str:
    """A field of memory.stat as the message has it."""
    total, name = ("total_", key[6:]) if key.startswith("total_") else ("", key)
    return total + _V1_NAMES.get(name, name)


def _first_huge(directory: str) -> Iterator[dict[str, Any]]:
    for size in _page_sizes(directory, "usage_in_bytes"):
        start = f"hugetlb.{size}"
        files = {"usage": f"{start}.usage_in_bytes", "max": f"{start}.max_usage_in_bytes"}
        yield {"pagesize": size, **_numbers(directory, {**files, "failcnt": f"{start}.failcnt"})}


def _blocks(directory: str) -> dict[str, list[dict[str, Any]]]:
    there = _names(directory)  # most of them are not
    return {name: list(_block(directory, file, there)) for name, file in _BLOCK.items()}


def _block(directory: str, name: str, there: Container[str]) -> Iterator[dict[str, Any]]:
    """Lines `8:0 Read 4096`, of the scheduler's figures, or without such a scheduler of the throttle's."""
    lines: Iterable[str] = ()
    for file in (f"blkio.{name}_recursive", f"blkio.throttle.{name}_recursive"):
        if not lines and file in there:
            lines = _text(f"{directory}/{file}").splitlines()
    for line in lines:
        device, *rest = line.split()
        major, colon, minor = device.partition(":")
        if colon and len(rest) in (1, 2):
            op = rest[0] if len(rest) == 2 else ""
            yield {"major": int(major), "minor": int(minor), "op": op, "value": int(rest[-1]),
                   "device": _device(device)}  # fmt: skip


def _device(number: str) -> str:
    """The path of a block device, of which the kernel tells major and minor; empty for none."""
    with contextlib.suppress(OSError):
        return f"/dev/{os.readlink(f'/sys/dev/block/{number}').rpartition('/')[2]}"  # noqa: PTH115  # as in _text
    return ""


def _second(directory: str) -> dict[str, Any]:
    """`io.containerd.cgroups.v2.Metrics`."""
    cpu, memory = _fields(f"{directory}/cpu.stat"), _fields(f"{directory}/memory.stat")
    events = _fields(f"{directory}/memory.events")
    more = {"usage": "memory.current", "usage_limit": "memory.max"}
    more |= {"swap_usage": "memory.swap.current", "swap_limit": "memory.swap.max"}
    kept = {key: value for key, value in memory.items() if key in _V2_MEMORY}
    return {
        "pids": _numbers(directory, {"current": "pids.current", "limit": "pids.max"}),
        "cpu": {key: cpu[key] for key in _V2_CPU if key in cpu},
        "memory": {**kept, **_numbers(directory, more)},
        "memory_events": {key: events[key] for key in _V2_EVENTS if key in events},
        "io": {"usage": list(_second_io(directory))},
        "hugetlb": list(_second_huge(directory)),
    }


def _second_io(directory: str) -> Iterator[dict[str, int]]:
    """Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`."""
    for line in _text(f"{directory}/io.stat").splitlines():
        device, *rest = line.split()
        major, _, minor = device.partition(":")
        pairs = (word.partition("=") for word in rest)
        wanted = {key: int(value) for key, _, value in pairs if key in ("rbytes", "wbytes", "rios", "wios")}
        yield {"major": int(major), "minor": int(minor), **wanted}


def _second_huge(directory: str) -> Iterator[dict[str, Any]]:
    for size in _page_sizes(directory, "current"):
        files = {"current": f"hugetlb.{size}.current", "max": f"hugetlb.{size}.max"}
        yield {"pagesize": size, **_numbers(directory, files)}


def _page_sizes(directory: str, last: str) -> list[str]:
    """Of which there is a file `hugetlb.SIZE.LAST`."""
    names = [name.split(".") for name in _names(directory)]
    return sorted(
        parts[1] for parts in names if len(parts) == 3 and (parts[0], parts[2]) == ("hugetlb", last)
    )


def _names(directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))  # noqa: PTH208  # as in _text
    except OSError:
        return frozenset()


def _numbers(directory: str, files: Mapping[str, str]) -> dict[str, int]:
    """The number in each file under its key, but for those that are missing or say `max`."""
    found = {key: _text(f"{directory}/{name}").rstrip() for key, name in files.items()}
    return {key: int(text) for key, text in found.items() if text.isdecimal()}


def _fields(path: str) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in _text(path).splitlines())
    return {one[0]: int(one[1]) for one in pairs if len(one) == 2 and one[1].isdecimal()}


def _text(path: str) -> str:
    """What a file holds; nothing when there is none.

    A scrape of a thousand containers reads thirty thousand: with pathlib and file objects that is most of it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        text = b""
        while len(text) < _MOST_BYTES:
            more = os.read(descriptor, _PIECE)
            text += more
            if len(more) < _PIECE:  # the kernel gives as much as there is room for
                break
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return text.decode("ascii", "replace")
