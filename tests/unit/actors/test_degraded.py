"""How often in a row a container's actor may fail, and how long it is left to stand then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from actors import degraded
from actors.degraded import PATIENCE, Degraded, pause_after

if TYPE_CHECKING:
    from pathlib import Path


def test_the_pauses_grow_up_to_five_minutes():
    pauses = [pause_after(failures) for failures in range(PATIENCE, PATIENCE + 12)]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0]
    assert (pause_after(0), pause_after(10**9)) == (1.0, 300.0)


def test_it_is_counted_from_one_incarnation_to_the_next(tmp_path: Path):
    actor = SimpleNamespace(bundle=tmp_path)
    for number in range(PATIENCE):
        one = Degraded(actor)  # type: ignore[arg-type]
        assert not one.on, f"after {number} failures"
        one.failed(KeyError("x"))
    assert Degraded(actor).on  # type: ignore[arg-type]


def test_what_comes_later_is_none_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    actor = SimpleNamespace(bundle=tmp_path)
    monkeypatch.setattr(degraded, "SHORT", -1.0)
    for _ in range(3 * PATIENCE):
        one = Degraded(actor)  # type: ignore[arg-type]
        one.failed(KeyError("x"))
    assert not one.on


@pytest.mark.parametrize("content", [b"", b"[", b"7", b"[1]", b'["a", ""]', b"null"])
def test_a_count_that_is_damaged_is_none(tmp_path: Path, content: bytes):
    (tmp_path / "failures.json").write_bytes(content)
    assert not Degraded(SimpleNamespace(bundle=tmp_path)).on  # type: ignore[arg-type]
