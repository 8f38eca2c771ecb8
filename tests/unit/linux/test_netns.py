"""Persistent network namespaces, and what a kill between two steps leaves."""

import os
import socket
import threading
from pathlib import Path

import pytest

from actors.linux import mountinfo, mounts, netns, process, spawn

pytestmark = pytest.mark.root


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "c1"
    yield found
    mounts.umount_below(str(tmp_path))


def test_a_namespace_lives_without_a_process(path):
    own = Path("/proc/self/ns/net").stat().st_ino
    threads = threading.active_count()
    descriptors = process.descriptor_count(os.getpid())
    netns.create(path)
    assert netns.exists(path)
    assert path.stat().st_ino != own
    assert Path("/proc/self/ns/net").stat().st_ino == own
    assert threading.active_count() == threads
    assert process.descriptor_count(os.getpid()) == descriptors


def test_one_made_in_advance_is_used_up_by_the_first_that_needs_one(path):
    descriptors = process.descriptor_count(os.getpid())
    spare = netns.Spare()
    for _ in range(2):
        spare.prepare()
    assert process.descriptor_count(os.getpid()) == descriptors + 1
    made = os.dup(spare._held)
    netns.create(path, spare)
    assert path.stat().st_ino == os.fstat(made).st_ino
    os.close(made)
    assert (spare.take(), process.descriptor_count(os.getpid())) == (-1, descriptors)
    other = path.with_name("c2")
    netns.create(other, spare)
    assert netns.exists(other)
    assert other.stat().st_ino != path.stat().st_ino


def test_one_made_in_advance_waits_on_where_nothing_is_needed(path):
    spare = netns.Spare()
    netns.create(path)
    spare.prepare()
    netns.create(path, spare)
    taken = spare.take()
    assert taken >= 0
    os.close(taken)


@pytest.mark.parametrize("advance", [False, True])
def test_its_loopback_is_up_and_is_its_only_interface_however_it_was_made(path, advance):
    spare = netns.Spare()
    if advance:
        spare.prepare()
    netns.create(path, spare)
    lines = addresses(path)
    assert any("LOOPBACK,UP" in line or "127.0.0.1/8" in line for line in lines)
    assert {line.split()[1].rstrip(":") for line in lines} == {"lo"}


def addresses(path):
    reader, writer = os.pipe()
    pid = spawn.spawn(["nsenter", f"--net={path}", "ip", "-o", "addr"], stdout=writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        lines = file.read().splitlines()
    assert os.waitpid(pid, 0)[1] == 0
    return lines


def test_creating_twice_keeps_the_first(path):
    netns.create(path)
    inode = path.stat().st_ino
    netns.create(path)
    assert path.stat().st_ino == inode
    assert len(mountinfo.mounted_below(str(path))) == 1


def test_removing_is_right_in_every_state(path):
    netns.remove(path)
    path.touch()
    netns.remove(path)
    netns.create(path)
    mounts.bind(str(path), str(path))
    netns.remove(path)
    netns.remove(path)
    assert not path.exists()
    assert mountinfo.mounted_below(str(path)) == []


def test_a_kill_before_the_bind_leaves_an_empty_file_that_is_mended(path):
    path.touch()
    assert not netns.exists(path)
    netns.create(path)
    assert netns.exists(path)


def test_a_kill_after_the_unmount_leaves_a_file_that_is_removed(path):
    netns.create(path)
    mounts.umount(str(path), detach=True)
    assert path.exists()
    assert not netns.exists(path)
    netns.remove(path)
    assert not path.exists()


def test_another_kind_of_namespace_is_not_a_network(path):
    path.touch()
    mounts.bind("/proc/self/ns/uts", str(path))
    assert not netns.exists(path)
    fifo = path.with_name("fifo")
    os.mkfifo(fifo)
    assert not netns.exists(fifo)


def test_a_missing_parent_is_an_error_and_nothing_is_left(tmp_path):
    with pytest.raises(FileNotFoundError):
        netns.create(tmp_path / "no" / "c1")


def test_the_caller_keeps_its_own_network(path):
    before = socket.if_nameindex()
    netns.create(path)
    assert socket.if_nameindex() == before
