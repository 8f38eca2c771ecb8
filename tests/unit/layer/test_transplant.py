"""Archives that people copy into a container."""

import os

import pytest

from actors.linux.openat2 import open_in_root
from storage.layer.transplant import Landing, unpack
from tests.unit.layer.crafted import Tar

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def copied(tmp_path):
    """Unpack a tar below an empty root; the root."""

    def run(tar):
        chunks = iter([bytes(tar), b""])
        fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            unpack(lambda: next(chunks), Landing(fd, b"."), open_in_root=open_in_root)
        finally:
            os.close(fd)
        return tmp_path

    return run


def test_a_sparse_file_is_what_it_was(copied):
    """As `tar --sparse` writes it: the archive has its parts, and says where they belong."""
    records = {
        b"GNU.sparse.size": b"10485760",
        b"GNU.sparse.name": b"s",
        b"GNU.sparse.map": b"0,2,8388608,3,10485760,0",
    }
    file = copied(Tar().pax(records).file("placeholder", b"12abc").file("next", b"next")) / "s"
    assert file.stat().st_size == 10485760
    assert file.stat().st_blocks * 512 < 1 << 20
    content = file.read_bytes()
    assert (content[:2], content[8388608:8388611]) == (b"12", b"abc")
    assert content.replace(b"\0", b"") == b"12abc"
    assert (file.parent / "next").read_bytes() == b"next"
