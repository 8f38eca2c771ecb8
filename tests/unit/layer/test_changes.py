"""What a container has changed, and layers compressed on their way."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import tarfile

import pytest
import zstandard

from actors.linux.openat2 import open_in_root
from storage.errors import InvalidArgumentError
from storage.layer.changes import changes
from storage.layer.compress import compressed
from storage.layer.diff import write_layer

CONTENT = [b"some text " * 1000, b"", os.urandom(1000), bytes(300_000)]


@pytest.mark.root
def test_added_changed_and_deleted(tmp):
    upper, near, far = (tmp / name for name in ("upper", "near", "far"))
    for root in (upper, near, far):
        (root / "kept").mkdir(parents=True)
        (root / "opaque").mkdir()
    (far / "kept/gone").touch()
    (near / "kept/changed").touch()
    (far / "opaque/hidden").touch()
    (near / "opaque/again").touch()
    (upper / "opaque/again").touch()
    (upper / "kept/changed").touch()
    (upper / "kept/added").mkdir()
    (upper / "kept/added/deep").touch()
    for name in ("kept/gone", "kept/never"):
        os.mknod(upper / name, stat.S_IFCHR, 0)
    os.setxattr(upper / "opaque", "trusted.overlay.opaque", b"y")
    found = [(one.kind, one.path.decode()) for one in changes(upper, [near, far], open_in_root=open_in_root)]
    assert found == [
        ("C", "kept"), ("C", "opaque"), ("A", "kept/added"), ("C", "kept/changed"), ("D", "kept/gone"),
        ("A", "kept/added/deep"), ("D", "opaque/hidden"), ("C", "opaque/again"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["gzip", "zstd", "none"])
def test_a_layer_is_compressed_the_same_way_each_time(kind):
    def pack() -> bytes:
        out: list[bytes] = []
        with compressed(kind, out.append) as write:
            for piece in CONTENT:
                write(piece)
        return b"".join(out)

    def unpack(blob: bytes) -> bytes:
        if kind == "gzip":
            return gzip.decompress(blob)
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob) if kind == "zstd" else blob

    assert unpack(pack()) == b"".join(CONTENT)
    assert pack() == pack()


def test_an_unknown_compression_is_refused():
    with pytest.raises(InvalidArgumentError, match="is none of"), compressed("bzip2", print):
        pass


@pytest.mark.root
@pytest.mark.parametrize("what", ["file", "directory", "replaced"])
def test_what_goes_after_it_was_listed_is_left_out(tmp, what):
    """As in a container that runs: temporary files come and go."""
    for name in ("a", "b", "c"):
        (tmp / "upper" / name).mkdir(parents=True)
        (tmp / "upper" / name / "file").write_text(name)

    def vanishing(root, path, flags):
        if path.startswith(b"b/") and what == "file":
            (tmp / "upper/b/file").unlink(missing_ok=True)
        elif path == b"b/file" or (path == b"b" and what == "directory"):
            shutil.rmtree(tmp / "upper/b", ignore_errors=True)
            if what == "replaced":
                (tmp / "upper/b").write_text("a file")
        return open_in_root(root, path, flags)

    pieces = []
    write_layer(tmp / "upper", pieces.append, open_in_root=vanishing)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as tar:
        named = [entry.name for entry in tar]
    rest = [] if what == "directory" else ["b"]
    assert named == [".", "a", "a/file", *rest, "c", "c/file"]


@pytest.mark.root
@pytest.mark.parametrize("gone", ["b", "b/file"])
def test_changes_that_are_undone_meanwhile_are_none(tmp, gone):
    (tmp / "upper/b").mkdir(parents=True)
    (tmp / "upper/b/file").touch()
    (tmp / "upper/c").touch()

    def vanishing(root, path, flags):
        if path == gone.encode():
            shutil.rmtree(tmp / "upper/b", ignore_errors=True)
        return open_in_root(root, path, flags)

    found = [one.path.decode() for one in changes(tmp / "upper", [], open_in_root=vanishing)]
    assert found == (["c"] if gone == "b" else ["b", "c"])
