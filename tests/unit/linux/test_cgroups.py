"""Layouts and statistics on recorded trees; killing and removing on the host's own control groups."""

import contextlib
import errno
import os
import signal
import uuid
from functools import partial
from pathlib import Path

import pytest

from actors.linux import cgroup_statistics, cgroup_view, cgroups, mountinfo, process, spawn
from actors.linux.cgroup_statistics import Statistics
from actors.linux.cgroups import Kind, Layout
from actors.runtime import resources
from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Wishes

PATH = "/actord/default/c1"


def write(root, files):
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V1 = {
    "cpu,cpuacct/cgroup.procs": "",
    "cpu,cpuacct/actord/default/c1/cpuacct.usage": "123456789\n",
    "memory/cgroup.procs": "",
    "memory/actord/default/c1/memory.usage_in_bytes": "4096\n",
    "memory/actord/default/c1/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/actord/default/c1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "memory/actord/default/c1/cgroup.procs": "11\n12\n",
    "memory/actord/default/c1/inner/cgroup.procs": "13\n0\n",
    "pids/cgroup.procs": "",
    "pids/actord/default/c1/pids.current": "2\n",
    "pids/actord/default/c1/cgroup.procs": "11\n",
    "hugetlb/.keep": "",
}
V2 = {
    "cgroup.controllers": "cpuset cpu io memory pids\n",
    "cgroup.procs": "1\n",
    "actord/default/c1/memory.current": "8192\n",
    "actord/default/c1/memory.max": "max\n",
    "actord/default/c1/memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n",
    "actord/default/c1/cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
    "actord/default/c1/pids.current": "7\n",
    "actord/default/c1/cgroup.procs": "21\n",
    "actord/default/c1/cgroup.kill": "",
    "actord/default/c1/io.stat": "8:0 rbytes=4096 wbytes=512 rios=1 wios=1 dbytes=0 dios=0\n"
    "253:1 rbytes=1000 wbytes=0 rios=3 wios=0 dbytes=0 dios=0\n",
    "actord/io.weight": "default 100\n",
    "actord/memory.max": "max\n",
    "actord/pids.max": "max\n",
}


def test_version_1_with_shared_and_linked_hierarchies(tmp_path):
    root = write(tmp_path, V1)
    (root / "cpu").symlink_to("cpu,cpuacct")
    layout = cgroups.detect(root)
    assert layout.kind is Kind.V1
    assert layout.hierarchies == (root / "cpu,cpuacct", root / "memory", root / "pids")
    assert layout.controllers["cpuacct"] == layout.controllers["cpu"] == root / "cpu,cpuacct"
    assert not cgroup_view.needs_private_view(layout)
    assert cgroups.processes(layout, PATH) == {11, 12, 13}
    assert cgroup_statistics.statistics(layout, PATH) == Statistics(4096, None, 123456789, 2, 3)


def test_hybrid_with_and_without_a_controller_beyond_version_1(tmp_path):
    files = {**V1, "unified/cgroup.procs": "", "unified/cgroup.controllers": "hugetlb\n"}
    root = write(tmp_path / "root", files)
    known = tmp_path / "cgroups"
    known.write_text(
        "#subsys_name\thierarchy\tnum\tenabled\nmemory\t4\t1\t1\nhugetlb\t0\t1\t1\nnet_cls\t0\t1\t1\n"
    )
    layout = cgroups.detect(root, known)
    assert layout.kind is Kind.HYBRID
    assert layout.controllers["hugetlb"] == root / "unified"
    assert layout.beyond_v1 == ("hugetlb",)
    assert cgroup_view.needs_private_view(layout)
    (root / "unified/cgroup.controllers").write_text("\n")
    assert not cgroup_view.needs_private_view(cgroups.detect(root, known))
    known.write_text("hugetlb\t10\t3\t1\n")
    assert cgroups.detect(root, known).beyond_v1 == ("hugetlb",)


def test_version_2(tmp_path):
    root = write(tmp_path, V2)
    layout = cgroups.detect(root)
    assert layout.kind is Kind.V2
    assert layout.hierarchies == (root,)
    assert set(layout.controllers) == {"cpuset", "cpu", "io", "memory", "pids"}
    assert not cgroup_view.needs_private_view(layout)
    assert cgroups.processes(layout, PATH) == {21}
    assert cgroup_statistics.statistics(layout, PATH) == Statistics(8192, None, 1_500_000, 7, 1)
    (root / "actord/default/c1/memory.max").write_text("67108864\n")
    assert cgroup_statistics.statistics(layout, PATH) == Statistics(8192, 67108864, 1_500_000, 7, 1)
    cgroups.kill(layout, PATH)
    assert (root / "actord/default/c1/cgroup.kill").read_text() == "1"


def test_what_version_2_enforces_tells_and_kills(tmp_path):
    layout = cgroups.detect(write(tmp_path, V2))
    assert cgroup_statistics.block_io(layout, PATH) == (5096, 512)
    assert cgroups.has_file(layout, "blkio", "io.weight"), "the controller is called io there"
    assert not cgroups.has_file(layout, "memory", "memory.limit_in_bytes")
    enforced = Wishes(memory=64 << 20, pids_limit=5, blkio_weight=100)
    has_file = partial(cgroups.has_file, layout)
    resources.refuse_unenforceable(enforced, v2=True, has_file=has_file)
    with pytest.raises(
        InvalidSpecError, match=r"cpuset-cpus cannot be enforced: this kernel has no cpuset\.cpus"
    ):
        resources.refuse_unenforceable(Wishes(cpuset_cpus="0"), v2=True, has_file=has_file)
    assert cgroups.processes(layout, PATH) == {21}
    cgroups.kill(layout, PATH)
    assert (tmp_path / PATH[1:] / "cgroup.kill").read_text() == "1", "the kernel kills, those that fork too"


def test_a_container_without_a_cgroup(tmp_path):
    for name, files in (("one", V1), ("two", V2)):
        layout = cgroups.detect(write(tmp_path / name, files))
        assert cgroup_statistics.statistics(layout, "/actord/default/other") is None
        assert cgroups.processes(layout, "/actord/default/other") == set()
        cgroups.kill(layout, "/actord/default/other")
        cgroups.remove(layout, "/actord/default/other")


def test_files_that_are_missing_or_odd_are_not_known(tmp_path):
    files = {
        "cgroup.controllers": "",
        "a/b/memory.current": "lots",
        "a/b/cpu.stat": "usage_usec\nnr_periods 1",
    }
    layout = cgroups.detect(write(tmp_path, files))
    assert cgroup_statistics.statistics(layout, "/a/b") == Statistics(None, None, None, None, None)


def test_no_control_groups_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match="no control groups"):
        cgroups.detect(tmp_path)


@pytest.mark.parametrize("path", ["", "/", "actord/c1", "/actord/../c1", "//"])
def test_a_path_that_is_not_one_containers_is_refused(path):
    with pytest.raises(ValueError, match="not of the form"):
        cgroups.directories(Layout(Kind.V2, Path(), (), {}), path)


def test_a_group_at_the_top_may_have_others_in_it():
    assert cgroups.is_a_containers("/actord/c1")
    assert not cgroups.is_a_containers("/system.slice")


@pytest.fixture
def leftover():
    """A cgroup in every hierarchy of this host, with one below it."""
    layout = cgroups.detect()
    path = f"/actord-test/{uuid.uuid4().hex}"
    for directory in cgroups.directories(layout, path):
        (directory / "inner").mkdir(parents=True)
    yield layout, path
    cgroups.remove(layout, path)
    for hierarchy in layout.hierarchies:
        (hierarchy / "actord-test").rmdir()


@pytest.fixture
def sleepers(leftover):
    """Starts processes that are gone at the end of the test, whatever became of it."""
    started = []

    def start(count):
        started.extend(spawn.spawn(["sleep", "600"]) for _ in range(count))
        return started

    yield start
    for pid in started:
        if process.peek_child(pid) is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def join(layout, path, pid):
    for hierarchy, directory in zip(layout.hierarchies, cgroups.directories(layout, path), strict=True):
        if hierarchy.name != "cpuset":  # takes nobody before it has processors and memory nodes
            (directory / "inner/cgroup.procs").write_text(str(pid))


@pytest.mark.root
def test_only_what_is_empty_goes_at_the_first_attempt(leftover):
    layout, path = leftover
    assert not cgroups.remove_empty(layout, path)
    for directory in cgroups.directories(layout, path):
        (directory / "inner").rmdir()
    assert cgroups.remove_empty(layout, path)
    assert not any(directory.exists() for directory in cgroups.directories(layout, path))
    assert cgroups.remove_empty(layout, path)


@pytest.mark.root
def test_a_leftover_is_killed_and_removed(leftover, sleepers):
    layout, path = leftover
    pids = sleepers(3)
    for pid in pids:
        join(layout, path, pid)
    assert cgroups.processes(layout, path) == set(pids)
    with pytest.raises(OSError, match="busy") as caught:
        cgroups.remove(layout, path)
    assert caught.value.errno == errno.EBUSY
    cgroups.kill(layout, path)
    assert [process.exit_code(os.waitpid(pid, 0)[1]) for pid in pids] == [137] * 3
    assert cgroups.processes(layout, path) == set()
    cgroups.kill(layout, path)
    cgroups.remove(layout, path)
    cgroups.remove(layout, path)
    assert not any(directory.exists() for directory in cgroups.directories(layout, path))


@pytest.mark.root
def test_the_hosts_own_numbers(leftover, sleepers):
    layout, path = leftover
    (pid,) = sleepers(1)
    join(layout, path, pid)
    found = cgroup_statistics.statistics(layout, path)
    assert found is not None
    files = {file.name for directory in cgroups.directories(layout, path) for file in directory.iterdir()}
    assert found.pids == (1 if "pids.current" in files else None), "with v2 whoever is above chooses"
    assert found.memory_limit_bytes is None
    assert found.oom_kills == (0 if {"memory.events", "memory.oom_control"} & files else None)


@pytest.mark.root
def test_a_private_view_has_every_controller_and_is_seen_by_nobody_else():
    layout = cgroups.detect()
    if not cgroup_view.needs_private_view(layout):
        pytest.skip(f"the layout here is {layout.kind.value}, all its controllers in place")
    before = [point.target for point in mountinfo.mount_points()]
    inside = cgroup_view.in_private_view(layout, cgroups.detect)
    assert not cgroup_view.needs_private_view(inside)
    assert set(layout.hierarchies) < set(inside.hierarchies)
    assert [point.target for point in mountinfo.mount_points()] == before
    assert cgroups.detect().hierarchies == layout.hierarchies


def test_freezing_on_version_1(tmp_path):
    place = f"freezer{PATH}/freezer.state"
    root = write(tmp_path, {**V1, "freezer/cgroup.procs": "", place: "THAWED\n"})
    layout = cgroups.detect(root)
    assert cgroups.freeze(layout, PATH, frozen=True, wait=0)
    assert (root / place).read_text() == "FROZEN"
    assert cgroups.freeze(layout, PATH, frozen=False, wait=0)
    assert (root / place).read_text() == "THAWED"
    assert cgroups.freeze(layout, "/actord/default/gone", frozen=True, wait=0)
    with pytest.raises(FileNotFoundError, match="no freezer"):
        cgroups.freeze(cgroups.detect(write(tmp_path / "without", V1)), PATH, frozen=True, wait=0)


def test_freezing_on_version_2(tmp_path):
    events = f"{PATH[1:]}/cgroup.events"
    root = write(tmp_path, {**V2, f"{PATH[1:]}/cgroup.freeze": "0", events: "populated 1\nfrozen 1\n"})
    layout = cgroups.detect(root)
    assert cgroups.freeze(layout, PATH, frozen=True, wait=0)
    assert (root / PATH[1:] / "cgroup.freeze").read_text() == "1"
    assert not cgroups.freeze(layout, PATH, frozen=False, wait=0)  # the kernel has not got there yet


class _Removed:
    """A file of a cgroup that is removed once it is open."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, _):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    write = read


@pytest.mark.parametrize("kind", [Kind.V1, Kind.V2])
def test_a_cgroup_that_goes_while_it_is_looked_at_is_gone(tmp_path, monkeypatch, kind):
    """Whoever looks, a container's actor say, would end by any other error."""
    (tmp_path / "actord/default/c1").mkdir(parents=True)
    layout = Layout(kind, tmp_path, (tmp_path,), {"freezer": tmp_path})
    monkeypatch.setattr(cgroups.Path, "open", lambda *_, **__: _Removed())
    assert cgroups.processes(layout, PATH) == set()
    assert cgroups.freeze(layout, PATH, frozen=True, wait=0.0)
    cgroups.kill(layout, PATH)
    assert cgroup_statistics.oom_kills(layout, PATH) is None
