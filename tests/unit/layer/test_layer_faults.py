"""A layer applied while everything goes wrong: SIGKILL, EIO and ENOSPC at each system call that changes.

The whole path of a layer: prepare, apply, commit, remove. A crash leaves a snapshot that is not committed and
nothing under its name; an error of the disk is one clean error. Either way the same steps then succeed.
"""

import contextlib
import errno
import io
import os

import pytest

from actors.linux.openat2 import open_in_root
from storage.errors import NotFoundError, StorageError, UnavailableError
from storage.layer.apply import apply_layer
from storage.snapshotters import NativeSnapshotter, OverlaySnapshotter
from tests.faulty import Faulty
from tests.unit.layer.crafted import Tar, tree

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

MOST_STEPS = 400
LOWER = (
    Tar()
    .dir("d", mode=0o2750, uid=5)
    .file("d/old", b"old", uid=3, mode=0o4755)
    .file("x", b"x")
    .symlink("lib", "d")
    .file("gone", b"g")
)
LAYER = (
    Tar()
    .dir("./")
    .file("lib/new", b"new", xattrs={"user.k": b"v"}, uid=7)
    .file("d/old", b"again")
    .hardlink("y", "x")
    .file(".wh.gone")
    .add("pipe", b"6", mode=0o600)
    .dir("d/sub")
    .file("d/sub/.wh..wh..opq")
    .file("f", b"1")
    .file("f", b"2")
    .symlink("s", "f")
)


def nothing(_):
    """In place of syncfs, which a test cannot tell from not doing so."""


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter], ids=lambda made: made.name)
def reopen(request, tmp):
    return lambda: request.param(tmp / "root", sync=nothing)


def unpack(snapshotter, name, parent, tar):
    """What an unpacker does; what an earlier attempt left half done is removed first."""
    with contextlib.suppress(NotFoundError):
        snapshotter.remove("ns", f"extract {name}")
    snapshotter.prepare("ns", f"extract {name}", parent)
    place = snapshotter.place("ns", f"extract {name}")
    apply_layer(
        io.BytesIO(bytes(tar)), place.upper, place.lowers, open_in_root=open_in_root, sync=nothing,
        overlay=snapshotter.stacked,
    )  # fmt: skip
    snapshotter.commit("ns", name, f"extract {name}")


def files(snapshotter, name):
    """Every file of a committed layer."""
    return tree(snapshotter.layers("ns", name)[0])


@pytest.fixture
def expected(reopen):
    """The base is there; what the layer is to become, its own copy removed again."""
    first = reopen()
    unpack(first, "base", "", LOWER)
    unpack(first, "whole", "base", LAYER)
    found = files(first, "whole")
    first.remove("ns", "whole")
    first.cleanup()
    first.close()
    return found


def sound(snapshotter):
    assert snapshotter.check() == ()
    snapshotter.cleanup()
    assert {int(path.name) for path in snapshotter._snapshots.iterdir()} == set(snapshotter._records.ids())


def again(snapshotter, expected):
    """The same steps, now that all is well; then the layer goes, with all that it took."""
    unpack(snapshotter, "layer", "base", LAYER)
    assert files(snapshotter, "layer") == expected
    snapshotter.remove("ns", "layer")
    sound(snapshotter)
    assert [one.key for one in snapshotter.list("ns")] == ["base"]
    snapshotter.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_each_call(reopen, expected, after):
    """At the level of the store: whether the layer is there, and whole, or not there at all."""
    steps = 0
    for step in range(1, MOST_STEPS):
        pid = os.fork()
        if pid == 0:
            with pytest.MonkeyPatch.context() as patch:
                Faulty(patch, step, after=after)
                unpack(reopen(), "layer", "base", LAYER)
                os._exit(0)
        killed = os.waitpid(pid, 0)[1] != 0
        snapshotter = reopen()
        committed = {one.key: one.kind for one in snapshotter.list("ns")}.get("layer") == "committed"
        if committed:
            assert files(snapshotter, "layer") == expected
            snapshotter.remove("ns", "layer")
        sound(snapshotter)
        if not killed:
            snapshotter.close()
            break
        again(snapshotter, expected)
        steps = step
    assert steps >= 40


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_the_disk_fails_at_each_call(reopen, expected, number):
    steps = 0
    for step in range(1, MOST_STEPS):
        snapshotter = reopen()
        with pytest.MonkeyPatch.context() as patch:
            faulty = Faulty(patch, step, number)
            try:
                unpack(snapshotter, "layer", "base", LAYER)
                failure = None
            except StorageError as error:
                failure = error
        if not faulty.reached:
            snapshotter.close()
            break
        if failure is None:  # what failed was of no consequence, such as a clone of blocks
            assert files(snapshotter, "layer") == expected
            snapshotter.remove("ns", "layer")
        else:
            assert "\n" not in str(failure)
            assert number != errno.ENOSPC or isinstance(failure, UnavailableError)
        again(snapshotter, expected)
        steps = step
    assert steps >= 40
