"""Looking through many layers: the answer of the nearest is enough, as long as nobody asks for the others."""

import os

import pytest

from actors.linux.openat2 import open_in_root
from storage.layer.lowers import Layers, Lowers
from tests.unit.layer.applied import apply_to
from tests.unit.layer.crafted import Tar, names

DEPTH = 400


def counting():
    """Opens as ever, and counts."""
    opened = []

    def open_counted(root, path, flags):
        opened.append(path)
        return open_in_root(root, path, flags)

    return open_counted, opened


def made(tmp_path, count, fill):
    """Lower directories, nearest first."""
    lowers = [tmp_path / str(number) for number in range(count)]
    for number, lower in enumerate(lowers):
        lower.mkdir()
        fill(number, lower)
    return lowers


@pytest.mark.parametrize("count", [3, 60])
@pytest.mark.parametrize("wait", [False, True])
def test_a_layer_on_many_others_asks_the_nearest(tmp_path, count, wait):
    """All layers of an image change the same directories: each on top of all looked into all of them."""
    lowers = made(tmp_path, count, lambda _, lower: (lower / "usr/lib/app").mkdir(parents=True))
    (tmp_path / "upper").mkdir()
    open_counted, opened = counting()
    tar = Tar().file("usr/lib/app/new", b"n")
    below = (lambda: lowers) if wait else lowers
    apply_to(tmp_path / "upper", tar, below, open_in_root=open_counted)
    assert len(opened) < 20
    assert names(tmp_path / "upper/usr/lib") == ["app"]


@pytest.fixture
def lowers(tmp_path):
    def on(count, fill):
        roots = [os.open(one, os.O_RDONLY) for one in made(tmp_path, count, fill)]
        opened.extend(roots)
        return Lowers(count, roots.__getitem__, open_in_root, "user.overlay.opaque")

    opened = []
    yield on
    for one in opened:
        os.close(one)


def test_further_layers_are_those_that_show_through(lowers):
    def fill(number, lower):
        if number == 4:
            (lower / "d").write_text("a file hides what is below it")
        elif number != 1:
            (lower / "d").mkdir()
        if number not in (0, 1, 4):
            (lower / "d/f").write_text(str(number))

    below = lowers(6, fill)
    found = below.find(b"d", below.all)
    assert list(found.layers) == list(found.layers) == [0, 2, 3]
    assert below.find(b"d/f", found.layers).nearest == 2
    assert below.find(b"d/g", found.layers) is None


def test_an_opaque_directory_is_the_last(lowers):
    def fill(number, lower):
        (lower / "d").mkdir()
        if number == 1:
            os.setxattr(lower / "d", "user.overlay.opaque", b"y")

    below = lowers(4, fill)
    assert list(below.find(b"d", below.all).layers) == [0, 1]


def test_directories_of_any_depth(lowers):
    """Each level asks the one above it for further layers: a hostile image may have hundreds of them."""
    path = b"/".join([b"d"] * DEPTH)
    below = lowers(3, lambda _, lower: (lower / os.fsdecode(path)).mkdir(parents=True))
    layers, at = below.all, b""
    for _ in range(DEPTH):
        at = at + b"/d" if at else b"d"
        layers = below.find(at, layers).layers
    assert list(layers) == [0, 1, 2]


def test_nobody_looks_further_than_asked():
    asked = []
    layers = Layers(asked.append(number) or number for number in range(5))
    assert next(iter(layers)) == 0
    assert layers
    assert asked == [0]
    assert list(layers) == list(layers) == [0, 1, 2, 3, 4] == asked
    assert not Layers(())
