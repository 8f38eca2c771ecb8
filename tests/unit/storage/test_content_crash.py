"""SIGKILL at every system call that changes something, then what `recover` and the next owner make of it."""

import functools
import os
import signal
import stat
from pathlib import Path

import pytest

from storage.content import ContentStore, IngestWriter
from storage.content import store as store_module
from storage.content import writer as writer_module
from storage.digest import Digest
from storage.errors import NotFoundError, StorageError, UnavailableError
from tests.faulty import Faulty

CONTENT = b"0123456789" * 100
DIGEST = Digest.of(CONTENT)
DONE = 42


def fetch(root):
    """All that a puller and the store do for one blob."""
    store = ContentStore(root)
    with IngestWriter(store.open_ingest("r", expected=DIGEST, total=len(CONTENT)).path, limit=1000) as writer:
        writer.write(CONTENT[writer.offset :][:500])
        writer.write(CONTENT[writer.offset :])
        writer.finish()
    store.commit("r", DIGEST, len(CONTENT), verified=True)


def fetch_unsealed(root):
    store = ContentStore(root)
    with IngestWriter(store.open_ingest("r").path, limit=1000) as writer:
        writer.start_at(0)
        writer.write(CONTENT)
    store.commit("r", DIGEST, len(CONTENT))


def fetch_and_note(root):
    """With an owner who notes the blob before the ingest goes."""
    store = ContentStore(root)
    with IngestWriter(store.open_ingest("r").path, limit=1000) as writer:
        writer.start_at(0)
        writer.write(CONTENT)
    for _ in range(2):
        store.commit("r", DIGEST, len(CONTENT), keep=True)
        [status] = store.statuses()
        assert (status.committed, status.offset) == (DIGEST, len(CONTENT))
    store.abort("r")


def commit_again(root):
    """Commit an ingest of a blob that is here already."""
    fetch(root)
    store = ContentStore(root)
    store.open_ingest("s")
    store.commit("s", DIGEST)


def note_again(root):
    """The same, with an owner who notes it."""
    fetch(root)
    store = ContentStore(root)
    store.open_ingest("s")
    store.commit("s", DIGEST, keep=True)
    [status] = store.statuses()
    assert (status.ref, status.committed, status.offset) == ("s", DIGEST, len(CONTENT))
    store.abort("s")


def abort(root):
    store = ContentStore(root)
    store.open_ingest("r")
    store.abort("r")


def restart_for_another_digest(root):
    store = ContentStore(root)
    store.open_ingest("r", expected=Digest.of(b"other"))
    store.open_ingest("r", expected=DIGEST)


def delete(root):
    fetch(root)
    ContentStore(root).delete(DIGEST)


def recover(root):
    abort(root)
    (root / "ingest" / ".new-remains").mkdir()
    (root / "ingest" / ".new-remains" / "ref").write_text("x")
    (root / "ingest" / "half").mkdir()
    ContentStore(root).recover()


SCRIPTS = [
    fetch,
    fetch_unsealed,
    fetch_and_note,
    commit_again,
    note_again,
    abort,
    restart_for_another_digest,
    delete,
    recover,
]


def run_and_die(script, root, count, *, after):
    """Whether `script`, in a child killed around its call `count`, came to its end."""
    child = os.fork()
    if child == 0:
        try:
            Faulty(pytest.MonkeyPatch(), count + 1, after=after)
            script(root)
            os._exit(DONE)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == DONE
    return True


def modes(root, kind):
    return {stat.S_IMODE(path.stat().st_mode) for path in (root, *root.rglob("*")) if kind(path)}


def check_invariants(root):
    store = ContentStore(root)
    recovery = store.recover()
    entries = list((root / "ingest").iterdir())
    assert sorted(status.ref for status in store.statuses()) == sorted(recovery.resumable)
    assert len(entries) == len(recovery.resumable)
    for entry in entries:
        assert (entry / "data").is_file() or all(status.committed for status in store.statuses())
        assert not (entry / "sealed").exists()
    for info in store.blobs():
        assert store.read(info.digest, info.size) == CONTENT
    assert modes(root, Path.is_dir) == {0o700}
    assert store.recover() == type(recovery)(recovery.resumable, 0)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_a_kill_at_any_step_is_recovered_from(tmp_path, script, after):
    deaths = 0
    while not run_and_die(script, tmp_path / str(deaths), deaths, after=after):
        root = tmp_path / str(deaths)
        check_invariants(root)
        fetch_or_find(root)
        assert ContentStore(root).read(DIGEST, 1000) == CONTENT
        deaths += 1
    assert deaths > 8


def open_and_abort(root):
    store = ContentStore(root)
    store.open_ingest("r", expected=DIGEST, total=1000)
    store.abort("r")


def test_an_ingest_is_whole_or_not_there_at_any_step(tmp_path):
    steps = 0
    seen = set()
    while not run_and_die(open_and_abort, tmp_path / str(steps), steps, after=True):
        found = ContentStore(tmp_path / str(steps)).statuses()
        seen.add(tuple((status.expected, status.total, status.offset) for status in found))
        steps += 1
    assert seen == {(), ((DIGEST, 1000, 0),)}


def test_a_blob_that_is_not_noted_yet_is_known_by_its_ingest(tmp_path):
    """At any step of a commit: the ingest has the bytes, or it names the blob that has them."""
    deaths = 0
    while not run_and_die(fetch_and_note, tmp_path / str(deaths), deaths, after=True):
        store = ContentStore(tmp_path / str(deaths))
        store.recover()
        statuses = list(store.statuses())
        noted = {status.committed for status in statuses}
        if store.has(DIGEST) and statuses:
            assert noted == {DIGEST}
        deaths += 1
    assert deaths > 8


def test_a_committed_ingest_expires_and_is_begun_again(tmp_path):
    store = ContentStore(tmp_path)
    with IngestWriter(store.open_ingest("r").path, limit=1000) as writer:
        writer.write(CONTENT)
    store.commit("r", DIGEST, keep=True)
    [status] = store.statuses()
    assert store.expired(status.updated + 100, idle=99) == ["r"]
    assert store.open_ingest("r").offset == 0
    assert store.status("r").committed is None
    assert store.read(DIGEST, 1000) == CONTENT


def fetch_or_find(root):
    if not ContentStore(root).has(DIGEST):
        fetch(root)


def test_dying_again_and_again_at_the_same_place_leaves_one_store(tmp_path):
    """The next owner starts where the last one died, without `recover` in between, and dies too."""
    count = 0
    while not run_and_die(fetch_or_find, tmp_path, count, after=True):
        count += 1
    check_invariants(tmp_path)
    assert [info.digest for info in ContentStore(tmp_path).blobs()] == [DIGEST]


@pytest.fixture
def busy_writer():
    """Start children that write a little to an ingest and keep it; none outlives the test."""
    children = []

    def start(path):
        ready, tell = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                writer = IngestWriter(path, limit=None)
                writer.write(b"12345")
                os.write(tell, b"!")
                signal.pause()
            finally:
                os._exit(1)
        children.append(child)
        os.close(tell)
        assert os.read(ready, 1) == b"!"
        os.close(ready)
        return functools.partial(kill, child)

    def kill(child):
        children.remove(child)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    yield start
    while children:
        kill(children[-1])


def test_the_lock_of_a_killed_writer_is_free(tmp_path, busy_writer):
    store = ContentStore(tmp_path)
    kill = busy_writer(store.open_ingest("r").path)
    with pytest.raises(UnavailableError):
        store.open_ingest("r")
    assert store.recover().resumable == ("r",)
    kill()
    assert store.open_ingest("r").offset == 5


def test_a_commit_is_durable_in_the_right_order(tmp_path, monkeypatch):
    store = ContentStore(tmp_path)
    path = store.open_ingest("r").path
    with IngestWriter(path, limit=None) as writer:
        writer.write(CONTENT)
    steps = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor):
        steps.append(("fsync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
        real_fsync(descriptor)

    def rename(source, target):
        steps.append(("rename", str(source)))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    store.commit("r", DIGEST)
    assert steps[:3] == [
        ("fsync", str(path)),
        ("rename", str(path)),
        ("fsync", str(store.path(DIGEST).parent)),
    ]


def test_bytes_that_the_disk_did_not_take_are_never_committed(tmp_path, monkeypatch):
    """After a failed fsync the kernel calls the pages clean: trying again would succeed over lost bytes."""
    store = ContentStore(tmp_path)
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        writer.write(CONTENT)

    def fail(_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="cannot commit ingest 'r': input/output error"):
            store.commit("r", DIGEST)
    assert not store.has(DIGEST)
    assert list(store.statuses()) == []


@pytest.mark.parametrize("number", [5, 28], ids=["EIO", "ENOSPC"])
def test_bytes_that_the_disk_did_not_take_from_a_writer_are_not_gone_on_with(tmp_path, monkeypatch, number):
    """A second fsync of them would succeed: the kernel tells of a failed write once."""
    store = ContentStore(tmp_path)

    def fail(_):
        raise OSError(number, os.strerror(number))

    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        writer.write(CONTENT)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(StorageError, match="cannot make ingest 'r' durable"):
                writer.finish()
        assert writer.offset == 0
    assert store.open_ingest("r").offset == 0
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        writer.write(CONTENT)
        assert writer.finish() == DIGEST
    store.commit("r", DIGEST, verified=True)
    assert store.read(DIGEST, len(CONTENT)) == CONTENT


def test_a_full_disk_is_unavailable_and_what_was_written_counts(tmp_path, monkeypatch):
    store = ContentStore(tmp_path)
    real_write = os.write
    with IngestWriter(store.open_ingest("r").path, limit=None) as writer:
        space = iter([3])

        def write(descriptor, content):
            room = next(space, None)
            if room is None:
                raise OSError(28, "No space left on device")
            return real_write(descriptor, content[:room])

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", write)
            with pytest.raises(UnavailableError, match="no space left"):
                writer.write(b"12345")
        assert writer.offset == 3
        writer.write(b"45")
        assert writer.finish() == Digest.of(b"12345")


def test_a_full_disk_leaves_no_half_ingest(tmp_path, monkeypatch):
    store = ContentStore(tmp_path)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        with pytest.raises(UnavailableError, match="no space left"):
            store.open_ingest("r")
    assert list((tmp_path / "ingest").iterdir()) == []


@pytest.mark.parametrize("note", ["startedat", "total", "expected", "ref"])
def test_a_damaged_ingest_is_begun_again(tmp_path, note):
    store = ContentStore(tmp_path)
    path = store.open_ingest("r", expected=DIGEST, total=1000).path
    (path.parent / note).write_bytes(b"\xff\n")
    with pytest.raises(StorageError, match="damaged"):
        store.status("r")
    assert list(store.statuses()) == []
    assert store.open_ingest("r", expected=DIGEST, total=1000).offset == 0
    assert store.status("r").total == 1000


def test_recovery_removes_what_is_no_ingest_and_leaves_other_files_with_blobs_alone(tmp_path):
    store = ContentStore(tmp_path)
    store.open_ingest("kept")
    moved = store.open_ingest("moved").path.parent
    moved.rename(moved.with_name("0" * 64))
    (tmp_path / "ingest" / "file").write_text("x")
    (tmp_path / "ingest" / "link").symlink_to(tmp_path)
    (tmp_path / "blobs" / "sha256" / "README").write_text("x")
    recovery = store.recover()
    assert (recovery.resumable, recovery.removed) == (("kept",), 3)
    assert (tmp_path / "blobs" / "sha256" / "README").exists()
    assert list(store.blobs()) == []


def test_directories_are_private_whatever_they_were(tmp_path):
    (tmp_path / "blobs").mkdir(mode=0o755)
    tmp_path.chmod(0o755)
    ContentStore(tmp_path).open_ingest("r")
    assert modes(tmp_path, Path.is_dir) == {0o700}
    assert modes(tmp_path, Path.is_file) == {0o600}


def test_an_idle_ingest_is_one_day_old():
    assert store_module.IDLE_SECONDS == 86400


def commit_it(store):
    store.commit("r", DIGEST)


def begin_again(store):
    store.abort("r")
    store.open_ingest("r")


@pytest.mark.parametrize("overtake", [commit_it, begin_again])
def test_a_writer_that_was_overtaken_before_it_got_the_lock_writes_to_no_blob(
    tmp_path, monkeypatch, overtake
):
    store = ContentStore(tmp_path)
    path = store.open_ingest("r").path
    with IngestWriter(path, limit=None) as writer:
        writer.write(CONTENT)
    real_lock = writer_module.try_lock

    def lock_too_late(descriptor, what):
        overtake(store)
        real_lock(descriptor, what)

    monkeypatch.setattr(writer_module, "try_lock", lock_too_late)
    with pytest.raises(NotFoundError, match="open it in the store"):
        IngestWriter(path, limit=None)
