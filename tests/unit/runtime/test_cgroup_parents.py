"""Cgroups above a container's: what its start has made goes with the last one below, what was there stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actors.linux.cgroups import Kind, Layout
from actors.runtime.cgroup_parents import Parents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two hierarchies; in one of them the parent has been made by its user."""
    cpu, memory = tmp_path / "cpu", tmp_path / "memory"
    (memory / "own").mkdir(parents=True)
    cpu.mkdir()
    return Layout(Kind.V1, tmp_path, (cpu, memory), {"cpu": cpu, "memory": memory})


def _made(layout: Layout, path: str) -> None:
    for top in layout.hierarchies:
        (top / path.lstrip("/")).mkdir(parents=True)


def _removed(layout: Layout, path: str) -> None:
    for top in layout.hierarchies:
        (top / path.lstrip("/")).rmdir()


def _left(layout: Layout) -> list[str]:
    return sorted(str(path.relative_to(layout.root)) for top in layout.hierarchies for path in top.rglob("*"))


def test_what_was_made_goes_with_the_last_and_what_was_there_stays(tmp_path: Path, layout: Layout):
    first, second = (Parents(tmp_path / "notes", layout) for _ in range(2))
    for parents, path in ((first, "/own/n/a"), (second, "/own/m/b")):
        with parents.entered(path):
            _made(layout, path)
    _removed(layout, "/own/n/a")
    first.leave()
    assert _left(layout) == [
        "cpu/own",
        "cpu/own/m",
        "cpu/own/m/b",
        "memory/own",
        "memory/own/m",
        "memory/own/m/b",
    ]
    _removed(layout, "/own/m/b")
    second.leave()
    assert _left(layout) == ["memory/own"]
    assert not (tmp_path / "notes/made").exists()


def test_nothing_is_taken_away_under_one_that_is_being_made(tmp_path: Path, layout: Layout):
    """Its runtime has just made the parent, and is about to make the rest."""
    first, second = (Parents(tmp_path / "notes", layout) for _ in range(2))
    with first.entered("/own/n/a"):
        _made(layout, "/own/n")
        second.leave()
        assert "cpu/own/n" in _left(layout)
    second.leave()
    assert _left(layout) == ["memory/own"]


def test_a_start_that_was_killed_leaves_what_the_next_end_takes_away(tmp_path: Path, layout: Layout):
    with Parents(tmp_path / "notes", layout).entered("/own/n/a"):
        _made(layout, "/own/n")
    Parents(tmp_path / "notes", layout).leave()
    assert _left(layout) == ["memory/own"]


def test_where_nothing_was_made_there_is_nothing_to_do(tmp_path: Path, layout: Layout):
    Parents(tmp_path / "notes", layout).leave()
    assert _left(layout) == ["memory/own"]


def test_a_parent_with_a_new_line_is_one_path(tmp_path: Path, layout: Layout):
    """No cgroup can be named so: the start fails, and what stands behind the line is somebody else's."""
    (tmp_path / "theirs").mkdir()
    parents = Parents(tmp_path / "notes", layout)
    with parents.entered(f"/own\n{tmp_path}/theirs/n/a"):
        pass
    parents.leave()
    assert (tmp_path / "theirs").is_dir()


def test_what_was_cut_off_is_no_path(tmp_path: Path, layout: Layout):
    parents = Parents(tmp_path / "notes", layout)
    with parents.entered("/new/n/a"):
        _made(layout, "/new/n/a")
    _removed(layout, "/new/n/a")
    (tmp_path / "theirs").mkdir()
    with (tmp_path / "notes/made").open("a") as notes:
        notes.write(f"{tmp_path}/theirs")  # of .../theirs/below
    parents.leave()
    assert (tmp_path / "theirs").is_dir()
    assert _left(layout) == ["memory/own"]
