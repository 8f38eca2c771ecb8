"""What recorded trees of both versions tell, in the shape of containerd's messages."""

from __future__ import annotations

import pytest

from actors.gateway.task_metrics import V1, V2, metrics
from actors.linux import cgroups
from actors.linux.cgroup_figures import figures

PATH = "/docker/c1"
BLOCK, MEMORY = "blkio/docker/c1/blkio.throttle", "memory/docker/c1/memory"
V1_TREE = {
    "blkio/cgroup.procs": "",
    "blkio/docker/c1/blkio.io_serviced_recursive": "",
    f"{BLOCK}.io_serviced_recursive": "254:0 Read 3\n254:0 Write 4\n254:0 Total 7\nTotal 7\n",
    "blkio/docker/c1/blkio.throttle.io_service_bytes_recursive": "254:0 Read 4096\nTotal 4096\n",
    "blkio/docker/c1/blkio.time_recursive": "254:0 55\n",
    "cpu,cpuacct/cgroup.procs": "",
    "cpu,cpuacct/docker/c1/cpuacct.usage": "1000\n",
    "cpu,cpuacct/docker/c1/cpuacct.usage_percpu": "400 600 \n",
    "cpu,cpuacct/docker/c1/cpuacct.stat": "user 2\nsystem 1\n",
    "cpu,cpuacct/docker/c1/cpu.stat": "nr_periods 5\nnr_throttled 2\nthrottled_time 77\nwait_sum 9\n",
    "hugetlb/cgroup.procs": "",
    "hugetlb/docker/c1/hugetlb.2MB.usage_in_bytes": "2097152\n",
    "hugetlb/docker/c1/hugetlb.2MB.failcnt": "1\n",
    "memory/cgroup.procs": "",
    f"{MEMORY}.stat": "cache 10\npgfault 3\nhierarchical_memsw_limit 99\ntotal_pgmajfault 2\nnew 1\n",
    "memory/docker/c1/memory.usage_in_bytes": "4096\n",
    "memory/docker/c1/memory.max_usage_in_bytes": "8192\n",
    "memory/docker/c1/memory.limit_in_bytes": "65536\n",
    "memory/docker/c1/memory.failcnt": "6\n",
    "memory/docker/c1/memory.memsw.usage_in_bytes": "4097\n",
    "memory/docker/c1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids/cgroup.procs": "",
    "pids/docker/c1/pids.current": "2\n",
    "pids/docker/c1/pids.max": "max\n",
}  # fmt: skip
V2_TREE = {
    "cgroup.controllers": "cpu io memory pids hugetlb\n",
    "docker/c1/cpu.stat": "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 0\nnr_bursts 0\n",
    "docker/c1/memory.stat": "anon 11\nfile 12\nvmalloc 1\n",
    "docker/c1/memory.current": "23\n",
    "docker/c1/memory.max": "max\n",
    "docker/c1/memory.swap.max": "1024\n",
    "docker/c1/memory.events": "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 0\n",
    "docker/c1/io.stat": "254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n",
    "docker/c1/hugetlb.2MB.current": "2097152\n",
    "docker/c1/hugetlb.2MB.max": "max\n",
    "docker/c1/hugetlb.2MB.rsvd.current": "0\n",
    "docker/c1/pids.current": "7\n",
    "docker/c1/pids.max": "20\n",
}


@pytest.fixture
def tree(tmp_path):
    def write(files):
        for name, text in files.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return cgroups.detect(tmp_path)

    return write


def test_version_1(tree):
    found = metrics(V1, figures(tree(V1_TREE), PATH))
    assert (found.pids.current, found.pids.limit) == (2, 0)
    usage = found.cpu.usage
    assert (usage.total, usage.user, usage.kernel, list(usage.per_cpu)) == (
        1000,
        2 * 10**7,
        10**7,
        [400, 600],
    )
    throttling = found.cpu.throttling
    assert (throttling.periods, throttling.throttled_periods, throttling.throttled_time) == (5, 2, 77)
    memory = found.memory
    assert (memory.cache, memory.pg_fault, memory.hierarchical_swap_limit, memory.total_pg_maj_fault) == (
        10,
        3,
        99,
        2,
    )
    entry = memory.usage
    assert (entry.usage, entry.max, entry.limit, entry.failcnt) == (4096, 8192, 65536, 6)
    assert memory.swap.usage == 4097
    assert found.memory_oom_control.oom_kill == 3
    serviced = [(one.major, one.minor, one.op, one.value) for one in found.blkio.io_serviced_recursive]
    assert serviced == [(254, 0, "Read", 3), (254, 0, "Write", 4), (254, 0, "Total", 7)]
    assert [one.value for one in found.blkio.io_service_bytes_recursive] == [4096]
    assert [(one.op, one.value) for one in found.blkio.io_time_recursive] == [("", 55)]
    assert [(one.pagesize, one.usage, one.failcnt) for one in found.hugetlb] == [("2MB", 2097152, 1)]


def test_version_2(tree):
    found = metrics(V2, figures(tree(V2_TREE), PATH))
    assert (found.pids.current, found.pids.limit) == (7, 20)
    assert (found.cpu.usage_usec, found.cpu.user_usec, found.cpu.system_usec) == (9, 5, 4)
    memory = found.memory
    assert (memory.anon, memory.file, memory.usage, memory.usage_limit, memory.swap_limit) == (
        11,
        12,
        23,
        0,
        1024,
    )
    assert (found.memory_events.high, found.memory_events.oom_kill) == (1, 4)
    (entry,) = found.io.usage
    assert (entry.major, entry.rbytes, entry.wbytes, entry.rios, entry.wios) == (254, 1, 2, 3, 4)
    assert [(one.pagesize, one.current, one.max) for one in found.hugetlb] == [("2MB", 2097152, 0)]


@pytest.mark.parametrize(
    ("name", "files"), [(V1, {"memory/cgroup.procs": ""}), (V2, {"cgroup.controllers": ""})]
)
def test_parts_are_there_when_the_kernel_tells_nothing(tree, name, files):
    """Docker Engine looks into each of them without asking, and dies of one that is missing."""
    found = metrics(name, figures(tree(files), PATH))
    parts = ("pids", "cpu", "memory", "memory_oom_control", "blkio")
    if name == V2:
        parts = ("pids", "cpu", "memory", "memory_events", "io")
    assert all(found.HasField(part) for part in parts)
    if name == V1:
        assert all(found.memory.HasField(part) for part in ("usage", "swap", "kernel", "kernel_tcp"))
        assert all(found.cpu.HasField(part) for part in ("usage", "throttling"))
