"""The reading thread, and the system calls that applying is given."""

import errno
import hashlib
import io
import os
import threading

import pytest

from actors.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_in_root, openat2
from actors.linux.syncfs import syncfs
from storage.errors import InvalidArgumentError, StorageError
from storage.layer.limits import Limits
from storage.layer.source import ChunkSource


class Endless:
    """A stream without an end, which counts what was taken of it."""

    def __init__(self):
        self.taken = 0

    def read(self, size):
        self.taken += size
        return bytes(size)


class Broken:
    """A stream that fails behind its first piece."""

    def __init__(self, error):
        self.pieces = [b"x"]
        self.error = error

    def read(self, _size):
        if self.pieces:
            return self.pieces.pop()
        raise self.error


def test_chunks_digest_and_progress():
    data, seen = os.urandom(3_000_000), []
    with ChunkSource(io.BytesIO(data), Limits(), seen.append) as source:
        first = source.next_chunk()
        assert source.finish() == "sha256:" + hashlib.sha256(data).hexdigest()
        assert source.next_chunk() == b""
    assert data.startswith(first)
    assert (source.size, seen[-1]) == (len(data), len(data))


def test_an_endless_stream_stops_at_the_limit_and_little_is_read_ahead():
    stream, before = Endless(), threading.active_count()
    source = ChunkSource(stream, Limits(total_bytes=10 << 20))
    with source, pytest.raises(InvalidArgumentError, match="longer than"):
        source.finish()
    assert stream.taken <= 20 << 20
    assert threading.active_count() == before


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    with ChunkSource(Endless(), Limits()) as source:
        source.next_chunk()
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(errno.EIO, "i/o"), StorageError), (InvalidArgumentError("bad"), InvalidArgumentError)],
)
def test_errors_of_the_stream_arrive(error, kind):
    with ChunkSource(Broken(error), Limits()) as source:
        assert source.next_chunk() == b"x"
        with pytest.raises(kind) as caught:
            source.next_chunk()
        assert type(caught.value) is kind
        assert source.next_chunk() == b""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "outside").write_text("outside")
    inside = tmp_path / "root"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc" / "name").write_text("inside")
    (inside / "absolute").symlink_to("/etc/name")
    (inside / "upward").symlink_to("../../../../etc/name")
    outer = os.open(tmp_path, os.O_RDONLY)
    (inside / "magic").symlink_to(f"/proc/self/fd/{outer}/outside")
    fd = os.open(inside, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    os.close(outer)


@pytest.mark.parametrize("path", ["etc/name", "/etc/name", "absolute", b"upward", "../../etc/name"])
def test_a_root_that_nothing_leaves(root, path):
    fd = open_in_root(root, path, os.O_RDONLY)
    assert os.read(fd, 10) == b"inside"
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("path", ["magic", "../outside", "missing", ""])
def test_what_is_not_in_the_root_is_not_there(root, path):
    with pytest.raises(FileNotFoundError):
        open_in_root(root, path, os.O_RDONLY)


def test_errors_of_openat2_carry_errno_and_name(root):
    with pytest.raises(OSError, match="absolute") as caught:
        openat2(root, "absolute", os.O_RDONLY, 0, RESOLVE_NO_SYMLINKS)
    assert caught.value.errno == errno.ELOOP
    with pytest.raises(OSError, match="upward") as caught:
        openat2(root, "upward", os.O_RDONLY, 0, RESOLVE_BENEATH)
    assert caught.value.errno == errno.EXDEV


def test_a_nul_byte_does_not_cut_a_path(root):
    with pytest.raises(ValueError, match="null"):
        openat2(root, b"etc/name\0/more", os.O_RDONLY)


def test_openat2_creates_with_the_mode(root):
    os.close(openat2(root, "new", os.O_WRONLY | os.O_CREAT, 0o600))
    assert os.stat("new", dir_fd=root).st_mode & 0o777 == 0o600


def test_syncfs(root):
    syncfs(root)
    with pytest.raises(OSError, match="descriptor"):
        syncfs(-1)
