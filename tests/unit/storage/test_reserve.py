"""Room that is kept for a full disk: given up at once, made again when there is more than enough."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace

import pytest

from storage import reserve
from storage.reserve import BYTES, ENOUGH, Reserve


@pytest.fixture
def room(monkeypatch):
    """What statvfs(2) says is free, in bytes."""
    found = SimpleNamespace(f_bavail=ENOUGH + 1, f_frsize=1)
    monkeypatch.setattr(reserve.os, "statvfs", lambda _: found)
    return found


def test_it_has_blocks_and_is_kept_by_the_next_too(tmp_path, room):
    path = tmp_path / "x.reserve"
    for _ in range(2):
        assert Reserve(path).is_kept
        assert path.stat().st_size == BYTES
        assert path.stat().st_blocks * 512 >= BYTES


def test_what_was_spent_is_made_again_when_there_is_room(tmp_path, room):
    path = tmp_path / "x.reserve"
    kept = Reserve(path)
    room.f_bavail = ENOUGH
    for _ in range(2):
        kept.spend()
        assert not path.exists()
    kept.renew()
    assert not path.exists()
    room.f_bavail = ENOUGH + 1
    kept.renew()
    assert path.stat().st_size == BYTES


def test_half_of_it_is_none(tmp_path, room, monkeypatch):
    def full(descriptor, _start, _length):
        os.write(descriptor, b"some")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(reserve.os, "posix_fallocate", full)
    kept = Reserve(tmp_path / "x.reserve")
    kept.renew()
    assert not kept.is_kept
    assert list(tmp_path.iterdir()) == []
