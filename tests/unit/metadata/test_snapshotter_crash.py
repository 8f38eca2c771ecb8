"""SIGKILL at every step of every snapshotter operation: done or not done, and cleanup leaves no orphan."""

import pytest
from dying import deaths

from storage.snapshotters import NativeSnapshotter, OverlaySnapshotter
from storage.snapshotters.trees import delete_tree


def nothing(_path):
    """In place of writing out all file systems, which a test cannot tell from not doing so."""


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter])
def reopen(request, tmp_path):
    return lambda: request.param(tmp_path / "root", sync=nothing)


def fill(snapshotter):
    snapshotter.prepare("ns", "working")
    files = snapshotter.place("ns", "working").upper
    (files / "etc" / "inner").mkdir(parents=True)
    (files / "etc" / "passwd").write_text("root")
    snapshotter.commit("ns", "base", "working")
    snapshotter.prepare("ns", "active", "base")
    (snapshotter.place("ns", "active").upper / "changed").write_text("x")
    snapshotter.view("ns", "view", "base")


def sound(snapshotter):
    """Each record has its directory, and after cleanup each directory its record."""
    assert snapshotter.check() == ()
    snapshotter.cleanup()
    root = snapshotter._snapshots
    assert {int(path.name) for path in root.iterdir()} == set(snapshotter._records.ids())
    assert list(snapshotter._trash.iterdir()) == []
    return {snapshot.key: snapshot.kind for snapshot in snapshotter.list("ns")}


BEFORE = {"base": "committed", "active": "active", "view": "view"}
OPERATIONS = {
    "prepare": (lambda s: s.prepare("ns", "new", "base"), {**BEFORE, "new": "active"}),
    "prepare empty": (lambda s: s.prepare("ns", "new"), {**BEFORE, "new": "active"}),
    "view": (lambda s: s.view("ns", "new", "base"), {**BEFORE, "new": "view"}),
    "commit": (
        lambda s: s.commit("ns", "second", "active"),
        {"base": "committed", "second": "committed", "view": "view"},
    ),
    "remove": (lambda s: s.remove("ns", "active"), {"base": "committed", "view": "view"}),
    "update": (lambda s: s.update("ns", "base", {"k": "v"}), BEFORE),
}
UNDO = {
    "prepare": lambda s: s.remove("ns", "new"),
    "prepare empty": lambda s: s.remove("ns", "new"),
    "view": lambda s: s.remove("ns", "new"),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_is_done_or_not(reopen, name):
    operation, after = OPERATIONS[name]
    first = reopen()
    fill(first)
    first.close()
    seen = []
    for _ in deaths(lambda: operation(reopen())):
        snapshotter = reopen()
        seen.append(sound(snapshotter))
        assert seen[-1] in (BEFORE, after)
        if seen[-1] == after and name in UNDO:
            UNDO[name](snapshotter)
        snapshotter.close()
    assert seen[-1] == after
    assert len(seen) >= 3


def test_crash_after_crash_without_cleanup(reopen):
    """A prepare that dies leaves its directory under an id that the next prepare is given again."""
    first = reopen()
    fill(first)
    first.close()
    for _ in deaths(lambda: reopen().prepare("ns", "new", "base")):
        snapshotter = reopen()
        if "new" not in sound_keys(snapshotter):
            snapshotter.prepare("ns", "new", "base")
        visible = {path.name for path in snapshotter.place("ns", "new").upper.iterdir()}
        assert visible == (set() if snapshotter.stacked else {"etc"})
        snapshotter.remove("ns", "new")
        snapshotter.close()
    last = reopen()
    assert sound(last) == BEFORE
    last.close()


def sound_keys(snapshotter):
    assert snapshotter.check() == ()
    return {snapshot.key for snapshot in snapshotter.list("ns")}


def test_cleanup_goes_on_where_it_died(reopen):
    first = reopen()
    fill(first)
    first.remove("ns", "active")
    first.remove("ns", "view")
    first.close()
    deepest = 0
    for step in deaths(lambda: reopen().cleanup()):
        snapshotter = reopen()
        assert snapshotter.check() == ()
        snapshotter.close()
        deepest = step
        if step < 12:  # put more rubbish where it has been deleted, so that later steps are reached
            rubbish = snapshotter._snapshots / str(900 + step) / "fs" / "a" / "b"
            rubbish.mkdir(parents=True)
            (rubbish / "file").write_text("x")
    assert deepest >= 12
    last = reopen()
    assert sound(last) == {"base": "committed"}
    last.close()


def test_a_power_cut_that_took_an_unsynchronised_directory(reopen):
    first = reopen()
    fill(first)
    first.close()
    delete_tree(first._snapshots / "3")
    again = reopen()
    assert sound(again) == BEFORE
    assert again.mounts("ns", "view")
    again.close()


def test_the_files_are_written_out_before_the_name_is(tmp_path):
    seen = []
    snapshotter = OverlaySnapshotter(
        tmp_path / "root", sync=lambda path: seen.append((path, snapshotter._records.database.in_transaction))
    )
    snapshotter.prepare("ns", "k")
    files = snapshotter.place("ns", "k").upper
    snapshotter.commit("ns", "c", "k")
    assert seen == [(files, True)]
    snapshotter.close()
