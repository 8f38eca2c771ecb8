"""ENOSPC and EIO at every system call of a write: all or nothing, a clean error, then it works."""

import os
import signal

import pytest
from test_metadata_crash import WRITES, fill, forget, state

from chaos.syscalls import Traced
from storage.errors import UnavailableError
from storage.metadata import Metadata

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]  # strace attaches
REPORT = 4096


class Owner:
    """A process with the database open: does the write each time it is told to, and says what came of it."""

    def __init__(self, path, write):
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _serve(Metadata(path, clock=lambda: 6), write, theirs[0], ours[1])
            finally:
                os._exit(1)
        os.close(ours[1])
        os.close(theirs[0])
        self._tell, self._hear = theirs[1], ours[0]
        assert self.hear() == "ready"

    def hear(self):
        return os.read(self._hear, REPORT).decode()

    def write(self):
        """What it came to: an error, or the empty word."""
        os.write(self._tell, b"!")
        return self.hear()

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._tell)
        os.close(self._hear)


def _serve(metadata, write, told, say):
    os.write(say, b"ready")
    while os.read(told, 1):
        try:
            write(metadata)
        except UnavailableError as error:
            os.write(say, str(error).encode())
        else:
            os.write(say, b"done")


@pytest.fixture
def fresh(tmp_path):
    """Makes the database as it is before each write."""
    path = tmp_path / "metadata.db"
    metadata = Metadata(path, clock=lambda: 5)
    fill(metadata)
    metadata.backup(tmp_path / "before.db")
    metadata.close()

    def make():
        forget(path)
        path.write_bytes((tmp_path / "before.db").read_bytes())
        return path

    return make


def steps_of(path, write, output):
    """The durable calls of the write, each with its number."""
    owner = Owner(path, write)
    with Traced(owner.pid, output) as traced:
        assert owner.write() == "done"
    owner.end()
    return [(call, number) for call, most in traced.calls().items() for number in range(1, most + 1)]


@pytest.mark.parametrize("effect", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("name", ["put content", "put image", "delete lease"])
def test_the_disk_fails_at_each_call_of_a_write(tmp_path, fresh, name, effect):
    write = WRITES[name]
    path = fresh()
    before = state(path)
    steps = steps_of(path, write, tmp_path / "trace")
    after, refused = state(path), 0
    assert before != after
    for at in steps:
        owner = Owner(fresh(), write)
        with Traced(owner.pid, tmp_path / "trace", at, effect):
            said = owner.write()
        if said != "done":
            refused += 1
            assert said.startswith(f"database {path}: ")
            assert "\n" not in said
            assert state(path) == before
            assert owner.write() == "done"
        assert state(path) == after
        owner.end()
        reopened = Metadata(path)
        assert reopened.check() == ()
        reopened.close()
    assert len(steps) >= 3
    assert refused >= 2
