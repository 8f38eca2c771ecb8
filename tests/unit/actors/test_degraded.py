"""How often in a row a container's actor may fail, and how long it is left to stand then."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

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


def _degraded(bundle: Path, **more: Any) -> Any:
    """An actor that is left to stand, and has just found its record."""
    found = SimpleNamespace(
        bundle=bundle, log=logging.getLogger("test"), taken=[], timers=[], ask=lambda *_: None, **more
    )
    found.record = {"namespace": "n", "id": "c", "task": {"status": "running"}, "options": {}}
    found.later = lambda _, function: found.timers.append(function)
    found.take_output = lambda: found.taken.append(1)
    found.degraded = Degraded(found)
    found.degraded.begin()
    return found


def test_output_is_taken_unless_that_is_what_it_dies_of(tmp_path: Path):
    (tmp_path / "failures.json").write_text(json.dumps([PATIENCE, "x"]))
    first = _degraded(tmp_path)
    assert first.taken == [1]
    first.degraded.failed(KeyError("of the output"))
    assert _degraded(tmp_path).taken == []
    again = _degraded(tmp_path)  # it was killed
    assert again.taken == []
    again.degraded.failed(KeyError("of the attempt"))
    last = _degraded(tmp_path)
    assert last.taken == [1]
    last.timers[-1]()  # it has gone well for a while
    last.degraded.failed(KeyError("of something else"))
    assert _degraded(tmp_path).taken == [1]
