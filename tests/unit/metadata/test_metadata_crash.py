"""SIGKILL at every step of a write, and at any moment of many: what was answered is there, all or nothing."""

import os
import signal
import sqlite3

import pytest
from dying import deaths

from storage.journal import Journal, NewEvent
from storage.metadata import Metadata, NewContainer, Resource, Task


def test_the_first_write_into_a_new_file(tmp_path):
    path = tmp_path / "metadata.db"
    seen = []
    for _ in deaths(lambda: Metadata(path).containers.create("ns", NewContainer("c")) and None):
        metadata = Metadata(path)
        assert metadata.check() == ()
        seen.append((len(metadata.namespaces.list()), len(metadata.containers.list_all())))
        metadata.close()
        forget(path)
    assert set(seen) == {(0, 0), (1, 1)}


def forget(path):
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def fill(metadata):
    metadata.images.put("ns", "old", {"digest": "old"})
    metadata.containers.create("ns", NewContainer("c"))
    metadata.tasks.record(Task("ns", "c", 1, "running", pid=1))
    metadata.leases.create("ns", "l")
    metadata.leases.add("ns", "l", Resource("content", "x"))


def state(path):
    """Everything in the tables, so that "all or nothing" can be said of it."""
    with sqlite3.connect(path) as raw:
        found = list(raw.iterdump())
    raw.close()
    return found


WRITES = {
    "put content": lambda m: m.contents.put("ns", "sha256:00", {"l": "v"}),
    "put image": lambda m: m.images.put("ns", "old", {"digest": "new"}),
    "create image elsewhere": lambda m: m.images.create("new", "a", {}),
    "delete container": lambda m: m.containers.delete("ns", "c"),
    "record task": lambda m: m.tasks.record(Task("ns", "c", 2, "stopped", exit_code=3)),
    "delete lease": lambda m: m.leases.delete("ns", "l"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_each_write_is_all_or_nothing(tmp_path, write):
    path = tmp_path / "metadata.db"
    metadata = Metadata(path, clock=lambda: 5)
    fill(metadata)
    metadata.backup(tmp_path / "before.db")
    metadata.close()
    before, seen = state(path), []

    def act():
        write(Metadata(path, clock=lambda: 6))

    for _ in deaths(act):
        Metadata(path).close()
        seen.append(state(path))
        forget(path)
        path.write_bytes((tmp_path / "before.db").read_bytes())
    after = seen[-1]
    assert after != before
    assert len(seen) >= 3
    assert all(found in (before, after) for found in seen)


def test_grouped_requests_become_durable_together(tmp_path):
    path = tmp_path / "metadata.db"
    Metadata(path).close()

    def act():
        metadata = Metadata(path)
        with metadata.transaction():
            for name in "abc":
                metadata.images.put("ns", name, {})

    for _ in deaths(act):
        metadata = Metadata(path)
        names = [image.name for image in metadata.images.list("ns")]
        assert names in ([], ["a", "b", "c"])
        metadata.close()
    assert names == ["a", "b", "c"]


def test_journal_announces_once_across_crashes(tmp_path):
    path = tmp_path / "events.db"
    Journal(path).close()

    def act():
        Journal(path).append_many([NewEvent("ns", "/tasks/exit", {}, 1, key) for key in ("a", "b")])

    for _ in deaths(act):
        journal = Journal(path)
        events = journal.read(0, 10)
        assert [(event.seq, event.key) for event in events] in ([], [(1, "a"), (2, "b")])
        journal.close()
    assert len(events) == 2


@pytest.mark.parametrize("answered", [1, 2, 3, 5, 8, 13, 21, 34])
def test_what_was_answered_is_there_after_a_kill_at_any_moment(tmp_path, answered):
    """The child answers each durable event on a pipe and is killed while it writes the next ones."""
    path = tmp_path / "events.db"
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _append_for_ever(path, writer)
    os.close(writer)
    read = 0
    while read < answered * 8:
        read += len(os.read(reader, answered * 8 - read))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reader)
    journal = Journal(path)
    assert journal.check() == ()
    assert journal.last_seq >= answered
    assert [event.body["n"] for event in journal.read(0, 10_000)] == list(range(1, journal.last_seq + 1))
    journal.close()


def _append_for_ever(path, writer):
    try:
        journal = Journal(path)
        for number in range(1, 10_000):
            seq, new = journal.append("ns", "/t", f"key {number}", {"n": number}, number)
            os.write(writer, seq.to_bytes(8) if new else b"")
    finally:
        os._exit(1)
