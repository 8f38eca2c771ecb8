"""The native form, where the target holds a copy of the parent and whiteouts remove."""

import os

import pytest

from storage.errors import InvalidArgumentError
from tests.unit.layer.crafted import Tar, describe, names, tree

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

LOWER = (
    Tar()
    .dir("d", mode=0o2750, uid=5, mtime=7, xattrs={"user.a": b"1"})
    .file("d/old", b"old", mtime=7)
    .dir("d/sub", mtime=7)
    .file("d/sub/deep", b"deep", mtime=7)
    .file("x", b"lower")
    .symlink("lib", "d/sub")
)


@pytest.fixture
def on_lower(native):
    native.apply(LOWER)

    def apply(tar):
        native.apply(tar)
        return native.root

    return apply


def test_whiteouts_remove(on_lower):
    root = on_lower(Tar().file(".wh.x").file(".wh.d").file(".wh.nothing").file("no/.wh.x"))
    assert names(root) == ["lib"]


@pytest.mark.parametrize("order", ["DFW", "DWF", "WDF"])
def test_whiteouts_spare_what_their_layer_makes(on_lower, order):
    parts = {
        "D": lambda tar: tar.dir("d", mode=0o700, mtime=3),
        "F": lambda tar: tar.file("d/y", b"y"),
        "W": lambda tar: tar.file(".wh.d"),
    }
    tar = Tar()
    for letter in order:
        parts[letter](tar)
    root = on_lower(tar)
    assert names(root / "d") == ["y"]
    assert describe(root / "d")[:4] == ("drwx------", 0, 0, 3 * 10**9)


def test_opaque_spares_what_its_layer_makes(on_lower):
    root = on_lower(Tar().file("d/sub/new", b"n").file("d/.wh..wh..opq").file("d/y"))
    assert names(root / "d") == ["sub", "y"]
    assert names(root / "d" / "sub") == ["new"]


def test_hard_links_into_the_book_keeping_of_aufs(on_lower):
    tar = Tar().file(".wh..wh.plnk/8.1", b"linked").file(".wh..wh..opq").hardlink("d/a", ".wh..wh.plnk/8.1")
    root = on_lower(tar.hardlink("d/b", ".wh..wh.plnk/8.1"))
    assert names(root) == ["d"]
    assert names(root / "d") == ["a", "b"]
    assert (root / "d/a").read_bytes() == b"linked"
    assert (root / "d/b").samefile(root / "d/a")


def test_opaque_root(on_lower):
    root = on_lower(Tar().file("n").file(".wh..wh..opq"))
    assert names(root) == ["n"]


def test_file_and_its_whiteout(on_lower):
    root = on_lower(Tar().file("x", b"new").file(".wh.x"))
    assert (root / "x").read_bytes() == b"new"


def test_whiteout_of_a_link_removes_the_link(on_lower):
    root = on_lower(Tar().file(".wh.lib"))
    assert names(root) == ["d", "x"]
    assert names(root / "d" / "sub") == ["deep"]


def test_whiteout_through_a_link_stays_inside(on_lower):
    root = on_lower(Tar().file("lib/.wh.deep"))
    assert names(root / "d" / "sub") == []


def test_unlisted_parents_keep_their_attributes(on_lower, native):
    before = tree(native.root)
    root = on_lower(Tar().file("d/new", b"n").file("lib/more", b"m").file("d/.wh.old"))
    after = tree(root)
    for name in ("", "d", "d/sub"):
        assert after[name] == before[name]


def test_replacing_takes_the_old_tree_away(on_lower):
    root = on_lower(Tar().file("d", b"file").dir("x", mode=0o711).file("x/in", b"i"))
    assert (root / "d").read_bytes() == b"file"
    assert names(root / "x") == ["in"]


def test_directory_over_directory_replaces_its_attributes(on_lower):
    root = on_lower(Tar().dir("d", mode=0o755, mtime=1))
    assert describe(root / "d") == ("drwxr-xr-x", 0, 0, 10**9, None, ())
    assert names(root / "d") == ["old", "sub"]


def test_hard_link_to_what_was_there(on_lower):
    root = on_lower(Tar().hardlink("y", "x"))
    assert (root / "y").stat().st_ino == (root / "x").stat().st_ino


def test_hard_link_to_what_was_removed(on_lower):
    with pytest.raises(InvalidArgumentError, match="hard link"):
        on_lower(Tar().file(".wh.x").hardlink("y", "x"))


def test_a_deep_tree_is_removed_without_recursion(native):
    tar = Tar()
    for depth in range(1, 500):
        tar.dir("/".join(["d"] * depth))
    native.apply(tar)
    native.apply(Tar().file(".wh.d"))
    assert names(native.root) == []


def test_nothing_that_an_opaque_root_took_away_is_written_to(on_lower):
    root = on_lower(Tar().file("d/.wh.old").file(".wh..wh..opq").file("d/new", b"n"))
    assert names(root) == ["d"]
    assert names(root / "d") == ["new"]
