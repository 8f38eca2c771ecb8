"""What a layer becomes in an overlay upper, row by row of the cases where tools disagree, and around them."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from storage.errors import (
    FailedPreconditionError,
    FullError,
    InvalidArgumentError,
    StorageError,
    UnavailableError,
)
from storage.layer.limits import Limits
from tests.unit.layer.applied import apply_to
from tests.unit.layer.crafted import Tar, describe, names, tree

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

OPAQUE = "trusted.overlay.opaque"
LOWER = (
    Tar()
    .dir(".", mode=0o711, uid=1, mtime=5)
    .dir("d", mode=0o2750, uid=5, gid=6, mtime=7, xattrs={"user.a": b"1"})
    .file("d/old", b"old", mtime=7)
    .file("x", b"lower", mode=0o640, uid=7, gid=8, mtime=9, xattrs={"user.x": b"2"})
    .dir("usr")
    .dir("usr/lib")
    .symlink("lib", "usr/lib")
    .symlink("loop", "loop")
)


def is_whiteout(path):
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path, name=OPAQUE):
    return name in os.listxattr(path) and os.getxattr(path, name) == b"y"


@pytest.fixture
def on_lower(snapshots):
    """Applies a layer to LOWER; the new upper is the answer."""
    snapshots.apply(LOWER)

    def apply(tar, **options):
        snapshots.apply(tar, **options)
        return snapshots.top

    return apply


def test_result_tells_digest_size_and_entries(snapshots):
    data = bytes(Tar().file("f", b"x" * 700).dir("d")) + bytes(9000)
    seen = []
    result = snapshots.apply(data, on_progress=seen.append)
    assert result.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (result.size, result.entries) == (len(data), 2)
    assert seen[-1] == len(data)


def test_digest_covers_what_stands_behind_the_archive(snapshots):
    data = bytes(Tar().file("f")) + b"tail" * 1000
    assert snapshots.apply(data).diff_id == "sha256:" + hashlib.sha256(data).hexdigest()


def test_the_upper_is_synced_once_and_last(snapshots):
    synced = []
    snapshots.apply(
        Tar().file("f", b"1").dir("d", mtime=3),
        sync=lambda fd: synced.append(sorted(child.name for child in os.scandir(fd))),
    )
    assert synced == [["d", "f"]]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (1, 0, 2)])
def test_whiteout_and_directory_in_one_layer_is_opaque(on_lower, order):
    """Row 1 and 3 of the disagreements."""
    parts = [
        lambda tar: tar.file(".wh.d"),
        lambda tar: tar.dir("d", mode=0o700, mtime=11),
        lambda tar: tar.file("d/y", b"y"),
    ]
    tar = Tar()
    for number in order:
        parts[number](tar)
    upper = on_lower(tar)
    assert is_opaque(upper / "d")
    assert names(upper / "d") == ["y"]
    assert stat.S_IMODE((upper / "d").stat().st_mode) == 0o700
    assert (upper / "d").stat().st_mtime == 11


def test_whiteout_never_touches_its_own_layer(on_lower):
    """Row 2."""
    upper = on_lower(Tar().file("x", b"new").file(".wh.x"))
    assert (upper / "x").read_bytes() == b"new"


def test_hard_link_to_a_lower_file_copies_it_up(on_lower, snapshots):
    """Row 4."""
    lower = snapshots.top
    upper = on_lower(Tar().hardlink("y", "x", mode=0o777, mtime=99))
    assert describe(upper / "x") == describe(upper / "y") == describe(lower / "x")
    assert (upper / "x").stat().st_ino == (upper / "y").stat().st_ino != (lower / "x").stat().st_ino


@pytest.mark.parametrize("userxattr", [False, True])
def test_overlay_attributes_of_a_tar_are_stripped(on_lower, userxattr):
    """Row 5."""
    books = {
        "trusted.overlay.opaque": b"y",
        "user.overlay.opaque": b"y",
        "trusted.overlay.redirect": b"/etc",
        "user.k": b"v",
    }
    upper = on_lower(Tar().dir("d", xattrs=books).file("f", xattrs=books), userxattr=userxattr)
    assert os.listxattr(upper / "d") == os.listxattr(upper / "f") == ["user.k"]


@pytest.mark.parametrize("overlay", [True, False])
def test_device_zero_is_refused(snapshots, native, overlay):
    """Row 6: it would act as a whiteout; nothing real is called 0:0."""
    with pytest.raises(InvalidArgumentError, match="0:0"):
        (snapshots if overlay else native).apply(Tar().add("x", b"3", major=0, minor=0))


def test_last_of_a_duplicate_path_wins(on_lower):
    """Row 7."""
    upper = on_lower(
        Tar().file("f", b"1", mode=0o600).file("./f", b"2", mode=0o644).symlink("g", "f").file("/g", b"3")
    )
    assert (upper / "f").read_bytes() == b"2"
    assert stat.S_IMODE((upper / "f").stat().st_mode) == 0o644
    assert describe(upper / "g")[4] == b"3"


@pytest.mark.parametrize("flag", [b"2", b"0", b"1", b"6"])
@pytest.mark.parametrize("name", [".", "/", "./", "a/..", ""])
def test_the_root_can_only_be_a_directory(snapshots, flag, name):
    """Row 8."""
    with pytest.raises(InvalidArgumentError, match="root cannot be"):
        snapshots.apply(Tar().add(name, flag, link="etc"))


def test_whiteout_of_a_lower_file(on_lower):
    upper = on_lower(Tar().file(".wh.x").file("d/.wh.old"))
    assert is_whiteout(upper / "x")
    assert is_whiteout(upper / "d" / "old")
    assert describe(upper / "d")[:4] == ("drwxr-s---", 5, 6, 7 * 10**9)


def test_whiteout_of_nothing_leaves_nothing(on_lower):
    upper = on_lower(Tar().file(".wh.nothing").file("d/.wh.nothing").file("no/such/.wh.x").file("x/.wh.y"))
    assert names(upper) == []


def test_whiteout_reaches_through_a_lower_whiteout_only_once(on_lower, snapshots):
    on_lower(Tar().file(".wh.d"))
    on_lower(Tar().file(".wh.d"))
    assert names(snapshots.top) == []


def test_file_replaces_its_whiteout(on_lower):
    upper = on_lower(Tar().file(".wh.x").file("x", b"new"))
    assert (upper / "x").read_bytes() == b"new"


@pytest.mark.parametrize("userxattr", [False, True])
def test_opaque_marker(on_lower, userxattr):
    upper = on_lower(Tar().file("d/y").file("d/.wh..wh..opq").file("d/z"), userxattr=userxattr)
    assert is_opaque(upper / "d", "user.overlay.opaque" if userxattr else OPAQUE)
    assert names(upper / "d") == ["y", "z"]
    assert describe(upper / "d")[:4] == ("drwxr-s---", 5, 6, 7 * 10**9)


def test_opaque_root_hides_each_name(on_lower):
    upper = on_lower(Tar().file("x", b"new").file(".wh..wh..opq").dir("d"))
    assert {name for name in names(upper) if is_whiteout(upper / name)} == {"usr", "lib", "loop"}
    assert is_opaque(upper / "d")
    assert (upper / "x").read_bytes() == b"new"


def test_nothing_shows_through_an_opaque_directory_of_a_middle_layer(on_lower, snapshots):
    on_lower(Tar().file(".wh.d").dir("d", mode=0o701))
    upper = on_lower(Tar().file("d/.wh.old").file("d/new"))
    assert names(upper / "d") == ["new"]
    assert stat.S_IMODE((upper / "d").stat().st_mode) == 0o701


@pytest.mark.parametrize("name", [".wh.", "d/.wh.", ".wh..", ".wh..."])
def test_whiteouts_that_name_nothing(on_lower, name):
    with pytest.raises(InvalidArgumentError, match="names no file"):
        on_lower(Tar().file(name))


def test_names_of_the_format_are_not_made(on_lower):
    upper = on_lower(Tar().file(".wh..wh.aufs").dir(".wh..wh.plnk").file(".wh..wh.plnk/1"))
    assert names(upper) == []
    with pytest.raises(InvalidArgumentError, match="like a whiteout"):
        on_lower(Tar().file(".wh.d/f"))


def test_hard_links_into_the_book_keeping_of_aufs(on_lower):
    """Of what has several names, AUFS has the file there, and a link for each of them."""
    tar = Tar().dir(".wh..wh.plnk").file(".wh..wh.plnk/8.1", b"linked", uid=3, mtime=5)
    tar.file(".wh..wh.plnk/8.2", b"not linked").dir("bin", mtime=9)
    upper = on_lower(tar.hardlink("bin/a", ".wh..wh.plnk/8.1").hardlink("bin/b", "/.wh..wh.plnk/8.1"))
    assert names(upper) == ["bin"]
    assert (upper / "bin/a").read_bytes() == b"linked"
    status = (upper / "bin/a").stat()
    assert (status.st_ino, status.st_uid, status.st_nlink) == ((upper / "bin/b").stat().st_ino, 3, 2)
    assert upper.stat().st_mtime_ns == 5 * 10**9


@pytest.mark.parametrize("link", [".wh..wh.plnk/8.1", ".wh..wh.plnk", ".wh..wh.plnk/8.2/x"])
def test_hard_links_into_a_book_keeping_that_has_no_such_file(on_lower, link):
    tar = Tar().dir(".wh..wh.plnk").symlink(".wh..wh.plnk/8.1", "/etc/passwd").file(".wh..wh.plnk/8.2")
    with pytest.raises(InvalidArgumentError):
        on_lower(tar.hardlink("a", link))


def test_what_comes_into_the_book_keeping_through_a_link_does_not_stay(on_lower):
    tar = Tar().file(".wh..wh.plnk/8.1", b"x").symlink("l", ".wh..wh.plnk").dir("l/d").file("l/d/f")
    upper = on_lower(tar.hardlink("a", "l/d/f"))
    assert names(upper) == ["a", "l"]


def test_unlisted_parents_take_the_lower_attributes(on_lower, snapshots):
    lower = snapshots.top
    upper = on_lower(Tar().file("d/new", b"n"))
    assert describe(upper / "d") == describe(lower / "d")
    assert describe(upper) == describe(lower)


def test_a_parent_behind_a_lower_link(on_lower):
    upper = on_lower(Tar().file("lib/a").file("lib/../usr/lib/b"))
    assert names(upper / "usr" / "lib") == ["a", "b"]
    assert names(upper) == ["usr"]


def test_a_link_that_was_replaced_is_not_followed_any_more(on_lower):
    upper = on_lower(Tar().file("lib/a").dir("lib").file("lib/b"))
    assert names(upper / "usr" / "lib") == ["a"]
    assert names(upper / "lib") == ["b"]


def test_links_in_a_circle(on_lower):
    with pytest.raises(InvalidArgumentError, match="too many symbolic links"):
        on_lower(Tar().file("loop/f"))


def test_files_below_a_file(on_lower):
    with pytest.raises(InvalidArgumentError, match="not a directory"):
        on_lower(Tar().file("x/y"))


def test_directory_over_directory_replaces_its_attributes(on_lower):
    upper = on_lower(Tar().file("d/f").dir("d", mode=0o700, mtime=3, xattrs={"user.b": b"2"}))
    assert describe(upper / "d") == ("drwx------", 0, 0, 3 * 10**9, None, (("user.b", b"2"),))
    assert names(upper / "d") == ["f"]


def test_a_directory_over_what_replaced_one_is_opaque(on_lower):
    upper = on_lower(Tar().file("d", b"file").dir("d"))
    assert is_opaque(upper / "d")


def test_times_of_directories_survive_their_content(snapshots):
    snapshots.apply(Tar().dir("a", mtime=1).dir("a/b", mtime=2).file("a/b/c", mtime=3).file("a/d", mtime=4))
    times = {name: described[3] // 10**9 for name, described in tree(snapshots.top).items()}
    assert times == {"": 0, "a": 1, "a/b": 2, "a/b/c": 3, "a/d": 4}


def test_capability_and_set_id_survive_the_change_of_owner(snapshots):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    snapshots.apply(
        Tar().file("f", mode=0o6755, uid=1000, gid=1000, xattrs={"security.capability": capability})
    )
    assert os.getxattr(snapshots.top / "f", "security.capability") == capability
    assert stat.S_IMODE((snapshots.top / "f").stat().st_mode) == 0o6755


def test_extended_attributes_of_links_and_devices(snapshots):
    attributes = {"trusted.k": b"v"}
    snapshots.apply(Tar().symlink("s", "f", xattrs=attributes).add("p", b"6", xattrs=attributes))
    for name in ("s", "p"):
        assert os.getxattr(snapshots.top / name, "trusted.k", follow_symlinks=False) == b"v"


def test_a_copy_for_a_hard_link_has_the_holes_of_the_lower_file(snapshots):
    """Else two layers of a few bytes would fill a disk."""
    records = {
        b"GNU.sparse.size": b"%d" % (64 << 20),
        b"GNU.sparse.name": b"s",
        b"GNU.sparse.map": b"0,1,%d,3,%d,0" % (32 << 20, 64 << 20),
    }
    snapshots.apply(Tar().pax(records).file("s", b"1abc"))
    snapshots.apply(Tar().hardlink("l", "s"))
    made = (snapshots.top / "l").stat()
    assert made.st_size == 64 << 20
    assert made.st_blocks * 512 < 1 << 20
    content = (snapshots.top / "l").read_bytes()
    assert content == (snapshots.lowers[1] / "s").read_bytes()
    assert content.replace(bytes(1 << 10), b"").replace(b"\0", b"") == b"1abc"


def test_sparse_files_stay_sparse(snapshots):
    records = {
        b"GNU.sparse.size": b"10485760",
        b"GNU.sparse.name": b"s",
        b"GNU.sparse.map": b"8388608,3,10485760,0",
    }
    snapshots.apply(Tar().pax(records).file("s", b"abc"))
    status = (snapshots.top / "s").stat()
    assert status.st_size == 10485760
    assert status.st_blocks * 512 < 1 << 20
    assert (snapshots.top / "s").read_bytes().strip(b"\0") == b"abc"


def test_the_umask_does_not_matter(snapshots):
    before = os.umask(0o777)
    try:
        snapshots.apply(
            Tar().file("f", mode=0o666).dir("d", mode=0o777).add("p", b"6", mode=0o666).file("i/f")
        )
    finally:
        os.umask(before)
    modes = {name: described[0] for name, described in tree(snapshots.top).items() if name}
    assert modes == {
        "f": "-rw-rw-rw-",
        "d": "drwxrwxrwx",
        "p": "prw-rw-rw-",
        "i": "drwxr-xr-x",
        "i/f": "-rw-r--r--",
    }


def test_hard_link_to_itself_is_harmless(snapshots):
    snapshots.apply(Tar().file("f", b"1").hardlink("f", "./f"))
    assert (snapshots.top / "f").read_bytes() == b"1"


@pytest.mark.parametrize("link", ["", "/", "gone", "d", "d/../..", ".wh.x"])
def test_hard_links_that_lead_nowhere(on_lower, link):
    with pytest.raises(InvalidArgumentError, match="hard link"):
        on_lower(Tar().hardlink("y", link))


def test_an_upper_in_use_is_refused(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(FailedPreconditionError, match="not empty"):
        apply_to(tmp_path, Tar())


def test_limits_hold(snapshots, tmp_path):
    with pytest.raises(InvalidArgumentError, match="longer than 4096 bytes"):
        snapshots.apply(Tar().file("f", b"x" * 4000), limits=Limits(total_bytes=4096))
    (tmp_path / "other").mkdir()
    with pytest.raises(InvalidArgumentError, match="more than 3 components"):
        apply_to(tmp_path / "other", Tar().file("a/b/c/d"), limits=Limits(depth=3))


@pytest.mark.parametrize(("number", "kind"), [(28, FullError), (24, UnavailableError), (5, StorageError)])
def test_what_the_filesystem_says_keeps_its_meaning(snapshots, number, kind):
    def fail(_fd):
        raise OSError(number, os.strerror(number))

    with pytest.raises(kind) as caught:
        snapshots.apply(Tar().file("f"), sync=fail)
    assert type(caught.value) is kind


def test_no_descriptor_is_left(snapshots):
    before = names(Path("/proc/self/fd"))
    snapshots.apply(LOWER)
    many = Tar()
    for number in range(600):
        many.file(f"t/{number}/f")
    snapshots.apply(many.file("d/.wh.old").hardlink("y", "x"))
    assert names(Path("/proc/self/fd")) == before
