"""What a container has changed, and layers compressed on their way."""

from __future__ import annotations

import gzip
import os
import stat

import pytest
import zstandard

from actors.linux.openat2 import open_in_root
from storage.errors import InvalidArgumentError
from storage.layer.changes import changes
from storage.layer.compress import compressed

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
