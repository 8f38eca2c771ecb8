"""A device node that is lent, and stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.linux import detached

pytestmark = pytest.mark.root


def test_a_node_that_is_lent_cannot_be_changed_and_is_written_to():
    before = Path(os.devnull).stat()
    lent = detached.open_unchangeable(os.devnull)
    try:
        assert os.read(lent, 1) == b""
        assert os.write(lent, b"x") == 1
        for change in (lambda: os.fchmod(lent, 0o600), lambda: os.fchown(lent, 12, 34)):
            with pytest.raises(OSError, match="Read-only"):
                change()
        again = os.open(f"/proc/self/fd/{lent}", os.O_RDWR)
        with pytest.raises(OSError, match="Read-only"):
            os.fchmod(again, 0o600)
        os.close(again)
    finally:
        os.close(lent)
    after = Path(os.devnull).stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
