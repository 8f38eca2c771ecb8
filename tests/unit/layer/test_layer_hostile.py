"""Layers made to harm: endless or quadratic work, and writes outside the root."""

import os
import sys
import threading

import pytest

from actors.linux.libc import libc
from storage.errors import InvalidArgumentError, StorageError
from storage.layer.limits import Limits
from storage.layer.tar import TarReader
from tests.unit.layer.applied import apply_to
from tests.unit.layer.crafted import BLOCK, Tar, block, padded, tree

RENAME_EXCHANGE = 2
root_only = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def effort(data):
    """Calls made and bytes taken while reading an archive to its end or to its refusal."""
    calls, taken = 0, 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    pieces = iter([data[start : start + 4096] for start in range(0, len(data), 4096)])

    def next_chunk():
        nonlocal taken
        piece = next(pieces, b"")
        taken += len(piece)
        return piece

    sys.setprofile(count)
    try:
        for entry in TarReader(next_chunk):
            assert entry
    except InvalidArgumentError:
        pass
    finally:
        sys.setprofile(None)
    return calls, taken


def pax_header(text):
    return Tar().raw(block(b"pax", b"x", size=len(text))).raw(text).file("f")


def looping():
    """Two kilobytes that send readers back to where they have been: a record of length 0, a negative size."""
    return [
        pax_header(b"0 path=f\n" + b"1" * 1000),
        Tar().raw(block(b"f", size=-512)).raw(bytes(BLOCK)),
        Tar().raw(block(b"L", b"L", size=-1024)).file("f"),
        Tar().pax({b"size": b"-512"}).file("f"),
        Tar()
        .pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"0"})
        .file("f"),
    ]


@pytest.mark.parametrize("number", range(5))
def test_nothing_sends_the_reader_back(number):
    data = bytes(looping()[number])
    calls, taken = effort(data)
    assert taken <= len(data)
    assert calls < 500


HEAVY = {
    "digits without an end": lambda size: pax_header(b"1" * size),
    "spaces": lambda size: pax_header(b"9" + b" " * size),
    "no equals sign": lambda size: pax_header(b"%d " % size + b"a" * size),
    "equals signs": lambda size: pax_header(b"%d a" % size + b"=" * size),
    "tiny records": lambda size: pax_header(b"6 a=b\n" * (size // 6)),
    "one key again and again": lambda size: pax_header(b"19 GNU.sparse.map=\n" * (size // 19)),
    "sparse map": lambda size: (
        Tar().pax({b"GNU.sparse.map": b",".join([b"0,0"] * (size // 4)), b"GNU.sparse.size": b"0"}).file("f")
    ),
    "sparse lines": lambda size: (
        Tar()
        .pax({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"0"})
        .file("f", padded(b"%d\n" % (size // 4) + b"0\n" * (size // 2)))
    ),
    "extension headers": lambda size: Tar().raw(block(b"g", b"g") * (size // BLOCK)).file("f"),
    "long names": lambda size: (
        Tar().raw((block(b"L", b"L", size=2) + padded(b"n\0")) * (size // 1024)).file("f")
    ),
}


@pytest.mark.parametrize("name", HEAVY)
def test_work_grows_with_the_input_and_no_faster(name):
    calls, taken = effort(bytes(HEAVY[name](80_000)))
    double_calls, double_taken = effort(bytes(HEAVY[name](160_000)))
    assert double_calls < 2.3 * calls + 500
    assert double_taken < 2.3 * taken + 8192
    assert calls < 80_000 * 3


def test_a_run_of_extension_headers_is_counted():
    data = bytes(Tar().raw(block(b"x", b"x") * 100).file("f"))
    pieces = iter([data])
    with pytest.raises(InvalidArgumentError, match="more than 50 headers"):
        TarReader(lambda: next(pieces, b""), Limits(entries=50)).next()


def beyond_path_max():
    """Directories and links whose resolved path is longer than the kernel's limit, then a step out."""
    tar = Tar()
    path, steps = b"", []
    for letter in b"abcdefghijklmnop":
        name = b"d" * 247
        tar.dir(path + name).symlink(path + bytes([letter]), name)
        steps.append(bytes([letter]))
        path += bytes([letter]) + b"/"
    long_link = b"/".join(steps) + b"/" + b"l" * 254
    tar.symlink(long_link, b"../" * len(steps))
    tar.symlink("escape", long_link + b"/../../../../../outside")
    return tar.file("escape/pwned", b"1").hardlink("flag", "escape/canary").file("flag", b"overwritten")


def attacks(outside):
    up = "../" * 30
    return {
        "absolute link": Tar().symlink("l", outside).file("l/pwned", b"1").file("l/canary", b"1"),
        "relative link": Tar().symlink("l", up + str(outside)).file("l/canary", b"1"),
        "chain of links": Tar()
        .symlink("a", "..")
        .symlink("b", "a/..")
        .symlink("c", f"b/..{outside}")
        .file("c/canary"),
        "dot-dot": Tar().file(f"{up}{outside}/canary", b"1").file(f"x/{up}{outside}/pwned", b"1"),
        "absolute name": Tar().file(f"{outside}/canary", b"1"),
        "through /proc": Tar().symlink("l", f"/proc/self/root{outside}").file("l/canary", b"1"),
        "hard link through a link": Tar().symlink("l", outside).hardlink("h", "l/canary").file("h", b"1"),
        "hard link by name": Tar().hardlink("h", f"{up}{outside}/canary"),
        "mode through a hard link": Tar()
        .symlink("s", f"{outside}/canary")
        .hardlink("h", "s", mode=0o777, uid=9, mtime=1)
        .add("h", b"1", link="s", mode=0o4777, xattrs={"user.k": b"v"}),
        "directory over a link": Tar()
        .symlink("l", outside)
        .dir("l", mode=0o777, uid=9, mtime=1)
        .file("l/pwned"),
        "attributes of a link": Tar().symlink(
            "l", f"{outside}/canary", uid=9, mtime=1, xattrs={"trusted.k": b"v"}
        ),
        "fifo over a link": Tar().symlink("l", f"{outside}/canary").add("l", b"6", mode=0o777),
        "whiteout": Tar().symlink("l", outside).file("l/.wh.canary"),
        "opaque": Tar().symlink("l", outside).file("l/.wh..wh..opq"),
        "link as a parent of a whiteout": Tar().symlink("l", f"{outside}/..").file("l/.wh.outside"),
        "beyond PATH_MAX": beyond_path_max(),
    }


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "canary").write_text("alive")
    (folder / "folder").mkdir()
    return folder


class TestRoot:
    """Needs root, as unpacking does."""

    pytestmark = root_only

    @pytest.mark.parametrize("form", ["overlay", "native", "two layers"])
    @pytest.mark.parametrize("name", attacks(""))
    def test_nothing_outside_changes(self, tmp_path, outside, name, form):
        upper, lower = tmp_path / "upper", tmp_path / "lower"
        upper.mkdir()
        lower.mkdir()
        tar = attacks(str(outside))[name]
        before = tree(outside)
        try:
            if form == "two layers":  # the links lie below, the rest follows
                apply_to(lower, tar)
                apply_to(upper, tar, lowers=[lower])
            else:
                apply_to(upper, tar, overlay=form == "overlay")
        except StorageError:
            pass  # refused is as good as confined
        assert tree(outside) == before

    @pytest.mark.parametrize("overlay", [True, False])
    def test_nothing_outside_changes_while_names_are_swapped(self, tmp_path, outside, overlay):
        before = tree(outside)
        for attempt in range(2):
            upper, aside = tmp_path / f"upper{attempt}", tmp_path / f"aside{attempt}"
            upper.mkdir()
            aside.mkdir()
            done = threading.Event()
            swapper = threading.Thread(target=swap, args=(upper, aside, outside, done))
            swapper.start()
            try:
                apply_to(upper, busy(), overlay=overlay)
            except StorageError:
                pass  # what was swapped may be in the way
            finally:
                done.set()
                swapper.join()
        assert tree(outside) == before


def busy():
    """Entries of every kind in directories that come again when they have dropped out of the cache."""
    tar = Tar()
    for number in range(400):
        folder = f"d{number % 300}"
        tar.file(f"{folder}/canary", b"1", uid=9, mode=0o777).add(f"{folder}/fifo", b"6", uid=9, mode=0o777)
        tar.dir(folder, mode=0o777, uid=9, mtime=1).dir(f"{folder}/folder", mode=0o777, uid=9)
        tar.symlink(f"{folder}/folder/canary", "x", mtime=1).file(f"{folder}/.wh.canary")
    return tar


def swap(upper, aside, outside, done):
    """Exchange directories of the upper with links that lead out, and back, until told to stop."""
    for number in range(1_000_000):
        if done.is_set():
            return
        link, victim = aside / f"link{number}", upper / f"d{number % 300}"
        link.symlink_to(outside)
        exchange(link, victim)
        exchange(link, victim)
        if link.is_symlink():
            link.unlink()


def exchange(one, other):
    """Let two names change places; neither is followed, and nothing happens when one is missing."""
    return libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), RENAME_EXCHANGE)
