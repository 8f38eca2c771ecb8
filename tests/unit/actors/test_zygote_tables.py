from __future__ import annotations

import errno
import json
import os
import socket
import stat

import pytest
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st
from shortage import one_descriptor_left

from actors.linux.pidfd import Process
from actors.settings import Settings
from actors.zygote import exits as exits_module
from actors.zygote import place
from actors.zygote.children import Child, Children, TakeoverError
from actors.zygote.control import MAX_DATAGRAM, Closed, pair
from actors.zygote.exits import Exits

# Children


@pytest.fixture
def table(tmp):
    (tmp / "children").mkdir()
    return Children(tmp / "children")


@pytest.fixture
def sleeper():
    with Forked(signal_wait) as one:
        yield Process.of(one.pid)


def signal_wait():
    while True:
        os.read(os.pipe()[0], 1)


def child(name, process, *, survives=True, inc=1):
    return Child(name, inc, "container", {"id": "a"}, survives, process)


def test_a_survivor_is_found_again(table, sleeper):
    table.add(child("container/default/a.b", sleeper, inc=4))
    (found,) = Children(table.directory).survivors()
    assert (found.name, found.inc, found.args, found.process) == (
        "container/default/a.b",
        4,
        {"id": "a"},
        sleeper,
    )
    os.close(found.pidfd)


def test_survivors_for_whom_there_is_no_descriptor_are_not_forgotten(table, sleeper):
    """They would be taken for strangers when they knock, and told to end."""
    for name in ("container/default/a", "container/default/b"):
        table.add(child(name, sleeper))
    with (
        one_descriptor_left(),
        pytest.raises(TakeoverError, match="cannot take over container/default/a: Too many open files"),
    ):
        Children(table.directory).survivors()
    found = Children(table.directory).survivors()
    assert [one.name for one in found] == ["container/default/a", "container/default/b"]
    for one in found:
        os.close(one.pidfd)


def test_those_who_end_with_the_zygote_are_not_written_down(table, sleeper):
    table.add(child("metadata", sleeper, survives=False))
    assert list(table.directory.iterdir()) == []


def test_one_that_is_struck_is_not_found(table, sleeper):
    one = child("container/default/a", sleeper)
    table.add(one)
    table.remove(one)
    table.remove(one)
    assert table.survivors() == []
    assert (table.by_pid, table.by_name) == ({}, {})
    assert table.incarnations == {"container/default/a": 1}


def test_the_end_of_one_is_not_that_of_another_who_has_its_pid_by_then(table, sleeper):
    """An adopted one is somebody else's child: its pid is free before we have looked at its pidfd."""
    former = child("container/default/a", Process(sleeper.pid, sleeper.start_time - 1))
    table.add(former)
    fresh = child("container/default/b", sleeper)
    table.add(fresh)
    assert not table.remove(former)
    assert table.by_pid == {sleeper.pid: fresh}
    assert table.by_name == {"container/default/b": fresh}
    assert table.remove(fresh)


def test_a_dead_or_reused_pid_is_not_adopted(table, sleeper):
    table.add(child("container/default/reused", Process(sleeper.pid, sleeper.start_time + 1)))
    with Forked(lambda: None) as gone:
        dead = Process.of(gone.pid)
        gone.wait()
    table.add(child("container/default/dead", dead))
    assert Children(table.directory).survivors() == []
    assert list(table.directory.iterdir()) == []


def test_names_that_look_alike_do_not_share_a_file(table, sleeper):
    names = [f"container/default/a{end}" for end in ("", ".1", ".2", ".new", "%2F", "/..")]
    for name in names:
        table.add(child(name, sleeper))
    found = Children(table.directory).survivors()
    assert sorted(one.name for one in found) == sorted(names)
    for one in found:
        os.close(one.pidfd)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1",
        "[]",
        "null",
        "{}",
        '{"pid": "x", "start": 1}',
        '{"pid": 1e99, "start": 1}',
        "\udcff",
        json.dumps({"pid": 1 << 80, "start": 1}),
        json.dumps({"pid": -5, "start": 1}),
        pytest.param(
            json.dumps({"pid": os.getpid(), "start": 0, "name": "x", "inc": 1}), id="of another process"
        ),
    ],
)
def test_a_file_that_makes_no_sense_is_removed(table, text):
    (table.directory / "container%2Fx").write_text(text, errors="surrogateescape")
    (table.directory / ".container%2Fx").write_text("half")
    assert table.survivors() == []
    assert list(table.directory.iterdir()) == []


def test_a_full_disk_does_not_stop_the_zygote(table, sleeper, tmp):
    table.directory.rmdir()
    table.add(child("container/default/a", sleeper))
    assert table.by_pid.keys() == {sleeper.pid}
    kept = Exits(tmp / "exits")
    (tmp / "exits").rmdir()
    kept.keep(sleeper, 9)
    assert kept.find(sleeper)[0] == 9
    kept.forget(sleeper)


# Exits


def test_exits_are_kept_over_a_restart_until_they_are_forgotten(tmp):
    first = Exits(tmp / "exits")
    first.keep(Process(5, 6), 7 << 8)
    first.keep(Process(5, 7), 9)
    second = Exits(tmp / "exits")
    assert second.find(Process(5, 6)) == first.find(Process(5, 6))
    assert second.find(Process(5, 6))[0] == 7 << 8
    assert second.find(Process(5, 8)) is None
    second.forget(Process(5, 6))
    second.forget(Process(5, 6))
    assert len(Exits(tmp / "exits")) == 1


@pytest.mark.parametrize("text", ["", "[1", "[1]", "1", "{}", '["x", "y"]', "[null, 1]"])
def test_an_exit_that_is_half_written_is_dropped(tmp, text):
    Exits(tmp / "exits").keep(Process(1, 2), 3)
    (tmp / "exits" / "8-9").write_text(text)
    (tmp / "exits" / "not a pid").write_text("[1, 2]")
    found = Exits(tmp / "exits")
    assert len(found) == 1
    assert [path.name for path in (tmp / "exits").iterdir()] == ["1-2"]


def test_exits_are_bounded_and_the_oldest_go_first(tmp, monkeypatch):
    monkeypatch.setattr(exits_module, "MAX_KEPT", 3)
    kept = Exits(tmp / "exits")
    for pid in range(1, 6):
        kept.keep(Process(pid, 1), 0)
    assert len(kept) == len(list((tmp / "exits").iterdir())) == 3
    assert kept.find(Process(2, 1)) is None
    assert kept.find(Process(5, 1)) is not None


# Control

JSON = st.recursive(
    st.none() | st.integers() | st.text() | st.booleans(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.text().filter(lambda key: key not in ("self", "given")), JSON, max_size=4))
def test_a_control_message_round_trip(fields):
    ours, theirs = pair()
    ours.send(**{**fields, "op": "word"})
    assert theirs.receive() == {**fields, "op": "word"}
    ours.close()
    theirs.close()


@pytest.fixture
def ends():
    both = pair()
    yield both
    for one in both:
        one.close()
        one.close()


def test_descriptors_travel_beside_a_message(ends, tmp):
    file = os.open(tmp / "x", os.O_RDWR | os.O_CREAT)
    ends[0].send_with([file, file], op="keep", key="k")
    ends[0].send(op="next")
    message, received = ends[1].receive_with()
    assert message == {"op": "keep", "key": "k"}
    assert [os.fstat(one).st_ino for one in received] == [os.fstat(file).st_ino] * 2
    assert not any(os.get_inheritable(one) for one in received)
    assert ends[1].receive() == {"op": "next"}
    for one in (file, *received):
        os.close(one)


def test_descriptors_that_nobody_wants_are_closed(ends, no_leaks):
    ends[0].send_with([0, 1], op="x")
    ends[1].receive()
    for payload in (b"[]", b"{}", b"\xff\xff", b'{"op": 1}', b"[" * 5000):
        socket.send_fds(ends[0].socket, [payload], [0])
        with pytest.raises((ValueError, TypeError, RecursionError)):
            ends[1].receive_with()


def test_limits(ends):
    with pytest.raises(ValueError, match="larger than"):
        ends[0].send(op="x", text="y" * MAX_DATAGRAM)
    ends[0].send(op="x", text="y" * (MAX_DATAGRAM - 100))
    assert len(ends[1].receive()["text"]) == MAX_DATAGRAM - 100


def test_closed(ends):
    ends[0].send(op="last")
    ends[0].close()
    assert ends[1].receive() == {"op": "last"}
    for use in (ends[1].receive, ends[1].receive_with, lambda: ends[1].send(op="x")):
        with pytest.raises(Closed):
            use()


# Place


@pytest.mark.root
def test_a_second_daemon_is_refused_with_the_pid_of_the_first(tmp):
    settings = Settings(root=tmp / "a" / "root", state=tmp / "a" / "state")
    locks = place.take(settings)
    assert stat.S_IMODE(settings.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(settings.state.stat().st_mode) == 0o711
    for root, state in (("root", "other"), ("other", "state")):
        with pytest.raises(
            place.PlaceError, match=rf"in use by another actord \(pid {os.getpid()}\); stop it"
        ):
            place.take(Settings(root=tmp / "a" / root, state=tmp / "a" / state))
    for lock in locks:
        os.close(lock)


@pytest.mark.root
def test_a_full_disk_keeps_no_daemon_from_its_directories(tmp, monkeypatch):
    """It would not take over the containers that run."""

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = Settings(root=tmp / "root", state=tmp / "state")
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        locks = place.take(settings)
    with pytest.raises(place.PlaceError, match=r"in use by another actord \(pid unknown\)"):
        place.take(settings)
    for lock in locks:
        os.close(lock)


@pytest.mark.root
def test_a_directory_that_cannot_be_made(tmp):
    (tmp / "file").touch()
    with pytest.raises(place.PlaceError, match=r"cannot use directory .*/file/root: Not a directory"):
        place.take(Settings(root=tmp / "file" / "root", state=tmp / "state"))


def test_only_root_may(tmp, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(place.PlaceError, match="as root"):
        place.take(Settings(root=tmp / "root", state=tmp / "state"))


def test_the_connection_file_is_for_its_owner_alone(tmp):
    settings = Settings(root=tmp / "root", state=tmp, node="here")
    for instance in ("first", "second"):
        place.write_connection_file(settings, instance)
    path = tmp / "connection.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert (found["instance"], found["node"], found["pid"]) == ("second", "here", os.getpid())
    assert found["endpoints"] == [f"ipc://{tmp}/actord.sock"]
    assert [one.name for one in tmp.iterdir()] == ["connection.json"]


def test_what_a_child_said_counts_though_it_went_without_reading_all():
    """Else one that goes to sleep while a ping is on its way to it would be taken for one that is done."""
    ours, theirs = pair()
    ours.send(op="ping")
    theirs.send(op="sleep", keys=["a"])
    theirs.close()
    assert ours.receive() == {"op": "sleep", "keys": ["a"]}
    with pytest.raises(Closed):
        ours.receive()
    ours.close()
