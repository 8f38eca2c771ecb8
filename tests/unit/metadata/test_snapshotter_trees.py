import contextlib
import gc
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.snapshotters import Usage
from storage.snapshotters.trees import copy_tree, delete_tree, measure


def dig(path, depth):
    """A chain of directories deeper than a path can name."""
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_delete_goes_deeper_than_any_path_and_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    tree = tmp_path / "tree"
    dig(tree, 3000)
    (tree / "link").symlink_to(outside)
    (tree / "d" / "link").symlink_to(outside, target_is_directory=True)
    delete_tree(tree)
    delete_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()


def test_delete_follows_no_link_in_place_of_the_tree(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="link"):
        delete_tree(tmp_path / "link")
    assert (tmp_path / "outside" / "kept").exists()


def test_delete_handles_names_like_its_own(tmp_path):
    for name in ("0", "0-0", "a" * 255, "-rf", "\udcff"):
        (tmp_path / "tree" / name / "0").mkdir(parents=True)
    delete_tree(tmp_path / "tree")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize("where", ["fs", "fs/deep/deeper"])
def test_delete_stops_at_a_mount(tmp_path, where):
    mounted = tmp_path / "tree" / where
    mounted.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=True)
    (mounted / "kept").write_text("x")
    try:
        with pytest.raises(OSError, match="busy"):
            delete_tree(tmp_path / "tree")
        assert [(path / "kept").exists() for path in mounted_below(tmp_path)] == [True]
    finally:
        for path in mounted_below(tmp_path):
            subprocess.run(["umount", path], check=True)
    delete_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def mounted_below(path):
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4] for line in lines]
    return [Path(point) for point in points if point.startswith(f"{path}/")]


def test_measure_counts_hard_links_once_and_holes_not(tmp_path):
    empty = measure(tmp_path)
    assert empty.inodes == 1
    (tmp_path / "a").write_bytes(b"x" * 10_000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "link").symlink_to("/")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    found = measure(tmp_path)
    assert found.inodes == 4
    assert 10_000 <= found.size - empty.size < 100_000


def test_measure_keeps_nothing_of_what_it_has_left(tmp_path, monkeypatch):
    """A layer may have millions of directories."""
    for number in range(500):
        (tmp_path / str(number)).mkdir()
    names, kept, plain = [], [], os.stat

    def stat_and_count(name, **how):
        names.append(name)
        if len(names) == 500:
            kept.append(sum(isinstance(one, contextlib.ExitStack) for one in gc.get_objects()))
        return plain(name, **how)

    monkeypatch.setattr(os, "stat", stat_and_count)
    assert measure(tmp_path).inodes == 501
    assert kept[0] < 100


def test_measure_of_a_pit_ends(tmp_path):
    dig(tmp_path / "pit", 1000)
    assert measure(tmp_path / "pit").inodes == 257
    delete_tree(tmp_path / "pit")


def describe(root):
    """What a copy has to keep, by path; inodes become the first path that has them."""
    found, first = {}, {}
    for path in sorted([root, *root.rglob("*")]):
        status = path.lstat()
        name = str(path.relative_to(root))
        extra = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        if path.is_symlink():
            extra = os.fsencode(path.readlink())
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
        }
        same = name if path.is_dir() else first.setdefault(status.st_ino, name)
        found[name] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_rdev,
            extra,
            xattrs,
            same,
        )
    return found


def copied(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    copy_tree(tmp_path / "source", target)
    return describe(tmp_path / "source"), describe(target)


def test_copy_keeps_what_a_user_can_make(tmp_path):
    source = tmp_path / "source"
    (source / "inner" / "empty").mkdir(parents=True)
    (source / "inner" / "file").write_text("text")
    os.link(source / "inner" / "file", source / "same")
    (source / "broken").symlink_to("nowhere")
    os.mkfifo(source / "fifo")
    os.setxattr(source / "same", "user.note", b"\0value")
    os.setxattr(source / "inner", "user.overlay.opaque", b"y")
    (source / "same").chmod(0o640)
    (source / "inner").chmod(0o1755)
    os.utime(source / "inner", ns=(5, 1_000_000_007))
    os.utime(source / "broken", ns=(5, 1_000_000_009), follow_symlinks=False)
    before, after = copied(tmp_path)
    assert before["inner"][6] == {"user.overlay.opaque": b"y"}
    before["inner"] = (*before["inner"][:6], {}, before["inner"][7])
    assert after == before


@pytest.mark.root
def test_copy_keeps_what_root_can_make(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(source / "disk", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(source / "socket"))
    (source / "su").write_text("#!")
    os.chown(source / "su", 1_000_000, 2_000_000)
    (source / "su").chmod(0o6755)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(source / "su", "security.capability", capability)
    (source / "link").symlink_to("su")
    os.chown(source / "link", 7, 8, follow_symlinks=False)
    os.setxattr(source / "link", "trusted.note", b"x", follow_symlinks=False)
    before, after = copied(tmp_path)
    assert after == before
    assert after["su"][0] == stat.S_IFREG | 0o6755


def test_copy_keeps_holes(tmp_path):
    (tmp_path / "source").mkdir()
    with (tmp_path / "source" / "sparse").open("wb") as file:
        file.seek(1 << 30)
        file.write(b"x")
        file.truncate(2 << 30)
    (tmp_path / "target").mkdir()
    copy_tree(tmp_path / "source", tmp_path / "target")
    status = (tmp_path / "target" / "sparse").stat()
    assert status.st_size == 2 << 30
    assert status.st_blocks * 512 < 1 << 20
    with (tmp_path / "target" / "sparse").open("rb") as file:
        file.seek(1 << 30)
        assert file.read(2) == b"x\0"


names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=4
)
trees = st.recursive(
    st.binary(max_size=20),
    lambda inner: st.dictionaries(names.filter(lambda n: n not in {".", ".."}), inner, max_size=4),
)


@settings(max_examples=30)
@given(st.dictionaries(st.sampled_from("abc"), trees, max_size=3))
def test_any_tree_is_copied_measured_and_deleted(tmp_path_factory, tree):
    base = tmp_path_factory.mktemp("tree")
    count = build(base / "source", tree)
    (base / "target").mkdir()
    copy_tree(base / "source", base / "target")
    assert describe(base / "source") == describe(base / "target")
    assert measure(base / "target") == Usage(count, measure(base / "source").size)
    delete_tree(base / "source")
    assert list(base.iterdir()) == [base / "target"]


def build(path, tree):
    if isinstance(tree, bytes):
        path.write_bytes(tree)
        return 1
    path.mkdir()
    return 1 + sum(build(path / name, inner) for name, inner in tree.items())
