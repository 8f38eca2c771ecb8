"""What `storage.snapshotters.contract` promises, on each implementation; with real mounts where root is."""

import contextlib
import errno
import itertools
import os
import stat
import subprocess

import pytest

from actors.linux.mount_values import Mount as LinuxMount
from actors.linux.mounts import mount_all, umount_below
from bench.counting import instructions
from storage.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    UnavailableError,
)
from storage.snapshotters import Mount, NativeSnapshotter, OverlaySnapshotter, Snapshotter, Usage


@pytest.fixture(params=[OverlaySnapshotter, NativeSnapshotter], ids=lambda made: made.name)
def implementation(request):
    return request.param


@pytest.fixture
def snapshotter(implementation, tmp):
    ticks = itertools.count(1000)
    opened: Snapshotter = implementation(tmp / "root", sync=lambda _path: None, clock=lambda: next(ticks))
    yield opened
    opened.cleanup()
    opened.close()


@pytest.fixture
def mounted(tmp):
    """A context manager that performs mounts as the contract says and gives the mounted directory."""
    count = itertools.count()

    @contextlib.contextmanager
    def perform(mounts):
        (mount,) = mounts
        target = tmp / f"mounted-{next(count)}"
        target.mkdir()
        command = ["mount", "-t", mount.type, mount.source, target, "-o", ",".join(mount.options)]
        if mount.type == "bind":
            command[1:3] = []
        subprocess.run(command, check=True, cwd=mount.base or None)
        if "ro" in mount.options:  # the kernel takes "ro" for a bind mount only when it is mounted again
            subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)
        try:
            yield target
        finally:
            subprocess.run(["umount", target], check=True)

    return perform


def commit(snapshotter, name, parent="", files=(), namespace="ns"):
    """A committed snapshot with these files written straight into its upper directory."""
    snapshotter.prepare(namespace, f"extract {name}", parent)
    for path in files:
        (snapshotter.place(namespace, f"extract {name}").upper / path).write_text(name)
    snapshotter.commit(namespace, name, f"extract {name}")


def kinds(snapshotter, namespace="ns"):
    return {snapshot.key: snapshot.kind for snapshot in snapshotter.list(namespace)}


def test_life_cycle(snapshotter):
    assert snapshotter.prepare("ns", "work")
    assert kinds(snapshotter) == {"work": "active"}
    snapshotter.commit("ns", "base", "work")
    assert kinds(snapshotter) == {"base": "committed"}
    snapshotter.prepare("ns", "work", "base")
    snapshotter.view("ns", "view", "base")
    assert kinds(snapshotter) == {"base": "committed", "work": "active", "view": "view"}
    assert snapshotter.stat("ns", "work").parent == "base"
    for key in ("work", "view", "base"):
        snapshotter.remove("ns", key)
    assert kinds(snapshotter) == {}
    assert snapshotter.cleanup() == 3
    assert snapshotter.cleanup() == 0


def test_not_visible_until_commit(snapshotter):
    snapshotter.prepare("ns", "work")
    with pytest.raises(NotFoundError, match='snapshot "base" not found in namespace "ns"'):
        snapshotter.stat("ns", "base")
    for make in (snapshotter.prepare, snapshotter.view):
        with pytest.raises(InvalidArgumentError, match='"work" is not committed'):
            make("ns", "child", "work")
    snapshotter.commit("ns", "base", "work")
    with pytest.raises(NotFoundError):
        snapshotter.stat("ns", "work")
    snapshotter.prepare("ns", "work", "base")


def test_keys_and_names_are_one_set(snapshotter):
    commit(snapshotter, "base")
    snapshotter.prepare("ns", "work")
    for key in ("base", "work"):
        for make in (snapshotter.prepare, snapshotter.view):
            with pytest.raises(AlreadyExistsError, match=f'snapshot "{key}" already exists'):
                make("ns", key)
    with pytest.raises(AlreadyExistsError, match='snapshot "base" already exists'):
        snapshotter.commit("ns", "base", "work")
    assert snapshotter.stat("ns", "work").kind == "active"
    snapshotter.commit("ns", "work", "work")
    assert snapshotter.stat("ns", "work").kind == "committed"


def test_keys_are_per_namespace(snapshotter):
    commit(snapshotter, "base", namespace="a")
    with pytest.raises(NotFoundError, match='"base" not found in namespace "b"; exists in namespace "a"'):
        snapshotter.prepare("b", "work", "base")
    commit(snapshotter, "base", namespace="b")
    snapshotter.remove("a", "base")
    assert kinds(snapshotter, "b") == {"base": "committed"}
    assert [snapshot.namespace for snapshot in snapshotter.list()] == ["b"]


def test_a_parent_cannot_be_removed(snapshotter):
    commit(snapshotter, "base")
    for number in range(5):
        snapshotter.prepare("ns", f"child{number}", "base")
    with pytest.raises(FailedPreconditionError) as caught:
        snapshotter.remove("ns", "base")
    assert str(caught.value) == 'snapshot "base" has children: remove child0, child1, child2, ... first'
    assert snapshotter.stat("ns", "base")


def test_what_is_not_there(snapshotter):
    calls = [snapshotter.mounts, snapshotter.remove, snapshotter.stat, snapshotter.usage, snapshotter.place]
    for call in calls:
        with pytest.raises(NotFoundError, match='snapshot "gone" not found'):
            call("ns", "gone")
    with pytest.raises(NotFoundError):
        snapshotter.commit("ns", "name", "gone")
    with pytest.raises(NotFoundError):
        snapshotter.update("ns", "gone", {})
    with pytest.raises(NotFoundError):
        snapshotter.prepare("ns", "work", "gone")
    assert kinds(snapshotter) == {}


def test_wrong_kinds(snapshotter):
    commit(snapshotter, "base")
    snapshotter.view("ns", "view", "base")
    with pytest.raises(FailedPreconditionError, match="is committed: prepare or view"):
        snapshotter.mounts("ns", "base")
    for key in ("base", "view"):
        with pytest.raises(FailedPreconditionError, match="not active"):
            snapshotter.commit("ns", "name", key)
    assert snapshotter.place("ns", "view").upper is None


@pytest.mark.parametrize(
    ("namespace", "key", "labels"),
    [("n s", "k", {}), ("", "k", {}), ("ns", "", {}), ("ns", "a\nb", {}), ("ns", "k", {"a": "b" * 4096})],
)
def test_malformed(snapshotter, namespace, key, labels):
    with pytest.raises(InvalidArgumentError):
        snapshotter.prepare(namespace, key, "", labels)
    assert snapshotter.list() == ()


def test_labels_and_times(snapshotter):
    snapshotter.prepare("ns", "work", "", {"a": "b"})
    made = snapshotter.stat("ns", "work")
    assert (made.labels, made.created_at, made.updated_at) == ({"a": "b"}, 1000, 1000)
    changed = snapshotter.update("ns", "work", {"c": "d"})
    assert (changed.labels, changed.created_at, changed.updated_at) == ({"c": "d"}, 1000, 1001)


def test_commit_inherits_the_labels_that_describe_the_snapshot(snapshotter):
    own = {
        "containerd.io/snapshot.ref": "sha256:0",
        "containerd.io/snapshot/x": "old",
        "containerd.io/gc.root": "1",
    }
    snapshotter.prepare("ns", "work", "", own)
    snapshotter.commit("ns", "base", "work", {"k": "v", "containerd.io/snapshot/x": "new"})
    assert snapshotter.stat("ns", "base").labels == {
        "containerd.io/snapshot.ref": "sha256:0", "containerd.io/snapshot/x": "new", "k": "v",
    }  # fmt: skip
    snapshotter.prepare("ns", "child", "base")
    assert snapshotter.stat("ns", "child").labels == {}


def test_parents_are_listed_before_children(snapshotter):
    commit(snapshotter, "z")
    commit(snapshotter, "m", "z")
    commit(snapshotter, "a", "m")
    assert [snapshot.key for snapshot in snapshotter.list("ns")] == ["z", "m", "a"]


def test_usage(snapshotter):
    snapshotter.prepare("ns", "work")
    before = snapshotter.usage("ns", "work")
    assert before.inodes == 1
    (snapshotter.place("ns", "work").upper / "file").write_bytes(b"x" * 100_000)
    after = snapshotter.usage("ns", "work")
    assert after.inodes == 2
    assert 100_000 <= after.size - before.size <= 200_000
    snapshotter.commit("ns", "base", "work")
    assert snapshotter.usage("ns", "base") == after
    snapshotter.prepare("ns", "known", "base")
    snapshotter.commit("ns", "second", "known", usage=Usage(7, 77))
    assert snapshotter.usage("ns", "second") == Usage(7, 77)


def test_files_are_made_durable_before_the_record_unless_they_are(implementation, tmp):
    synced = []
    snapshotter = implementation(tmp / "root", sync=synced.append)
    for key, known in (("own", False), ("known", True)):
        snapshotter.prepare("ns", key)
        files = snapshotter.place("ns", key).upper
        snapshotter.commit("ns", f"{key}-done", key, synced=known)
        assert synced == ([] if known else [files])
        synced.clear()
    snapshotter.close()


def test_everything_is_there_after_reopening(snapshotter, implementation, tmp):
    commit(snapshotter, "base", files=["a"])
    mounts = snapshotter.prepare("ns", "work", "base", {"k": "v"})
    before = snapshotter.list()
    again = implementation(tmp / "root", sync=lambda _path: None)
    assert again.list() == before
    assert again.mounts("ns", "work") == mounts
    assert again.cleanup() == 0
    again.close()


def test_the_root_directory_keeps_its_attributes(snapshotter):
    snapshotter.prepare("ns", "work")
    files = snapshotter.place("ns", "work").upper
    assert stat.S_IMODE(files.stat().st_mode) == 0o755
    files.chmod(0o1770)
    os.utime(files, ns=(5, 1_000_000_007))
    snapshotter.commit("ns", "base", "work")
    snapshotter.prepare("ns", "child", "base")
    child = snapshotter.place("ns", "child").upper.stat()
    assert stat.S_IMODE(child.st_mode) == 0o1770
    assert child.st_mtime_ns == 1_000_000_007


def test_others_cannot_reach_the_files(snapshotter, tmp):
    snapshotter.prepare("ns", "work")
    assert stat.S_IMODE((tmp / "root").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp / "root" / "snapshots").stat().st_mode) == 0o700


def test_upper_and_lowers(snapshotter):
    commit(snapshotter, "base", files=["a"])
    commit(snapshotter, "middle", "base", files=["b"])
    snapshotter.prepare("ns", "work", "middle")
    visible = {path.name for path in snapshotter.place("ns", "work").upper.iterdir()}
    below = [{path.name for path in lower.iterdir()} for lower in snapshotter.place("ns", "work").lowers]
    assert (visible, below) == ((set(), [{"b"}, {"a"}]) if snapshotter.stacked else ({"a", "b"}, []))


def test_files_wait_for_cleanup(snapshotter):
    commit(snapshotter, "base", files=["a"])
    snapshotter.prepare("ns", "work", "base")
    upper = snapshotter.place("ns", "work").upper
    snapshotter.remove("ns", "work")
    assert upper.exists()
    (path,) = snapshotter.discard()
    assert not upper.exists()
    assert path.exists()
    assert snapshotter.cleanup() == 1
    assert not path.exists()


def test_to_discard_what_was_removed_is_as_much_work_among_many(snapshotter):
    def work(number):
        for one in range(number):
            snapshotter.prepare("ns", f"{number}-{one}")
        snapshotter.remove("ns", f"{number}-0")
        found = []
        count = instructions(lambda: found.append(snapshotter.discard(every=False)))
        assert [len(paths) for paths in found] == [1]
        snapshotter.cleanup()
        return count

    work(2)
    few, many = work(4), work(60)
    assert few == many


def test_only_what_was_left_by_ourselves_is_discarded_without_a_look_at_all(snapshotter, tmp):
    snapshotter.prepare("ns", "kept")
    snapshotter.prepare("ns", "taken")
    with contextlib.suppress(AlreadyExistsError):
        snapshotter.prepare("ns", "taken")
    (tmp / "root/snapshots/999").mkdir()
    assert snapshotter.discard(every=False) == ()
    snapshotter.remove("ns", "taken")
    (path,) = snapshotter.discard(every=False)
    assert snapshotter.discard(every=False) == (path,)  # until it is deleted
    assert len(snapshotter.discard()) == 2
    assert snapshotter.check() == ()


def test_what_a_failed_prepare_has_left_is_discarded(snapshotter, monkeypatch, tmp):
    def full(*_):
        raise OSError(errno.ENOSPC, "no room")

    with monkeypatch.context() as patched:
        patched.setattr(snapshotter, "_fill", full)
        with pytest.raises(UnavailableError):
            snapshotter.prepare("ns", "work")
    assert len(list((tmp / "root/snapshots").iterdir())) == 1
    assert len(snapshotter.discard(every=False)) == 1
    assert list((tmp / "root/snapshots").iterdir()) == []


def test_absolute_mounts(tmp):
    mount = Mount("overlay", "overlay", ("index=off", "lowerdir=2/fs:1/fs", "upperdir=3/fs"), base="/base")
    expected = ("index=off", "lowerdir=/base/2/fs:/base/1/fs", "upperdir=/base/3/fs")
    assert mount.absolute() == Mount("overlay", "overlay", expected)
    assert mount.absolute().absolute() == mount.absolute()


def test_overlay_mounts_are_as_few_as_possible(tmp):
    snapshotter = OverlaySnapshotter(tmp / "root", sync=lambda _path: None, userxattr=True)
    base = tmp / "root" / "snapshots"
    assert snapshotter.prepare("ns", "work") == (Mount("bind", f"{base}/1/fs", ("rbind", "rw")),)
    snapshotter.commit("ns", "one", "work")
    assert snapshotter.view("ns", "v1", "one") == (Mount("bind", f"{base}/1/fs", ("rbind", "ro")),)
    flags = ("index=off", "userxattr")
    (mount,) = snapshotter.prepare("ns", "work", "one")
    assert mount.options == (*flags, "lowerdir=1/fs", "upperdir=3/fs", "workdir=3/work")
    assert mount.base == str(base)
    snapshotter.commit("ns", "two", "work")
    (mount,) = snapshotter.view("ns", "v2", "two")
    assert mount.options == (*flags, "lowerdir=3/fs:1/fs")
    snapshotter.close()


def test_overlay_refuses_what_it_cannot_mount(tmp):
    with pytest.raises(InvalidArgumentError, match='use a root without ":"'):
        OverlaySnapshotter(tmp / "a:b")
    snapshotter = OverlaySnapshotter(tmp / "root", sync=lambda _path: None)
    with contextlib.suppress(FailedPreconditionError):
        parent = ""
        for number in range(1000):
            commit(snapshotter, f"layer{number}", parent)
            parent = f"layer{number}"
    assert number == 501
    with pytest.raises(FailedPreconditionError, match=f"has {number} layers, too many for one mount"):
        snapshotter.prepare("ns", "work", parent)
    snapshotter.close()


@pytest.mark.root
def test_written_files_are_seen_by_children_alone(snapshotter, mounted):
    commit(snapshotter, "base", files=["kept", "removed", "changed"])
    with mounted(snapshotter.prepare("ns", "work", "base")) as root:
        (root / "changed").write_text("new")
        (root / "removed").unlink()
        (root / "added").write_text("new")
    snapshotter.commit("ns", "second", "work")
    with mounted(snapshotter.view("ns", "old", "base")) as root:
        assert contents(root) == {"kept": "base", "removed": "base", "changed": "base"}
    with mounted(snapshotter.view("ns", "new", "second")) as root:
        assert contents(root) == {"kept": "base", "changed": "new", "added": "new"}


def contents(root):
    return {path.name: path.read_text() for path in root.iterdir()}


@pytest.mark.root
def test_siblings_do_not_see_each_other(snapshotter, mounted):
    commit(snapshotter, "base", files=["file"])
    snapshotter.prepare("ns", "a", "base")
    snapshotter.prepare("ns", "b", "base")
    with mounted(snapshotter.mounts("ns", "a")) as first, mounted(snapshotter.mounts("ns", "b")) as second:
        (first / "file").write_text("a")
        assert contents(second) == {"file": "base"}


@pytest.mark.root
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_views_are_read_only(snapshotter, mounted, layers):
    parent = ""
    for number in range(layers):
        commit(snapshotter, f"layer{number}", parent, files=[f"file{number}"])
        parent = f"layer{number}"
    with mounted(snapshotter.view("ns", "view", parent)) as root:
        assert set(contents(root)) == {f"file{number}" for number in range(layers)}
        with pytest.raises(OSError, match="Read-only"):
            (root / "new").write_text("x")


@pytest.mark.root
def test_mounting_again_shows_what_was_written(snapshotter, mounted):
    commit(snapshotter, "base")
    snapshotter.prepare("ns", "work", "base")
    for number in range(2):
        with mounted(snapshotter.mounts("ns", "work")) as root:
            assert len(contents(root)) == number
            (root / f"file{number}").write_text("x")


@pytest.mark.root
def test_128_layers_mount(snapshotter, mounted):
    parent = ""
    for number in range(128):
        commit(snapshotter, f"layer{number}", parent, files=[f"file{number}", "same"])
        parent = f"layer{number}"
    with mounted(snapshotter.prepare("ns", "work", parent)) as root:
        assert len(contents(root)) == 129
        assert contents(root)["same"] == "layer127"
        (root / "same").write_text("written")
    snapshotter.commit("ns", "top", "work")
    with mounted(snapshotter.view("ns", "view", "top")) as root:
        assert contents(root)["same"] == "written"


MAP = {
    "containerd.io/snapshot/uidmapping": "0:100000:65536",
    "containerd.io/snapshot/gidmapping": "0:200000:65536",
}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_owners_are_shifted_for_a_user_namespace(snapshotter, tmp, layers):
    """Seen through a real mount; what is written there has such owners too; the layers are as before."""
    parent = ""
    for number in range(layers):
        commit(snapshotter, f"c{number}", parent, files=[f"f{number}"])
        parent = f"c{number}"
        os.chown(snapshotter.layers("ns", parent)[0] / f"f{number}", 5, 6)
    snapshotter.prepare("ns", "k", parent, MAP)
    target = tmp / "mapped"
    target.mkdir()
    mount_all([perform_as(one) for one in snapshotter.mounts("ns", "k")], str(target))
    try:
        assert owner(target) == (100000, 200000)
        for number in range(layers):
            assert owner(target / f"f{number}") in [(100005, 200006), (100000, 200000)]
        as_root_inside = ["setpriv", "--reuid=100000", "--regid=200000", "--clear-groups"]
        subprocess.run([*as_root_inside, "touch", "new"], check=True, cwd=target)
        assert owner(target / "new") == (100000, 200000)
        if layers:
            os.chown(target / "f0", 100007, 200008)
            assert owner(target / "f0") == (100007, 200008)
    finally:
        umount_below(str(target))
    if layers:
        assert owner(snapshotter.layers("ns", "c0")[0] / "f0") == (5, 6)
        with pytest.raises(FailedPreconditionError, match="shifted owners"):
            snapshotter.commit("ns", "no layer", "k")


def owner(path):
    status = path.stat()
    return status.st_uid, status.st_gid


def perform_as(mount):
    return LinuxMount(mount.type, mount.source, mount.options, mount.base or None)


@pytest.mark.parametrize(
    "labels",
    [
        {"containerd.io/snapshot/uidmapping": "0:1:1"},
        dict.fromkeys(MAP, "0:1"),
        dict.fromkeys(MAP, "0:0:4294967296"),
        dict.fromkeys(MAP, "0:1:1,x"),
    ],
)
def test_a_malformed_map_is_refused(snapshotter, labels):
    with pytest.raises(InvalidArgumentError):
        snapshotter.prepare("ns", "k", labels=labels)
    assert kinds(snapshotter) == {}


def test_a_mask_changes_what_it_names(snapshotter):
    snapshotter.prepare("ns", "k", labels={"a": "1", "b": "2", "c": "3"})
    new = {"a": "4", "d": "5", "e": "6"}
    assert snapshotter.update("ns", "k", new, ["labels.a", "labels.b"]).labels == {"a": "4", "c": "3"}
    assert snapshotter.update("ns", "k", new, ["labels.d"]).labels == {"a": "4", "c": "3", "d": "5"}
    assert snapshotter.update("ns", "k", new, ["labels"]).labels == new
    assert snapshotter.update("ns", "k", {}).labels == {}
    for field in ("kind", "label.a", ""):
        with pytest.raises(InvalidArgumentError, match="only labels"):
            snapshotter.update("ns", "k", new, [field])


def test_a_commit_can_name_the_parent(snapshotter):
    commit(snapshotter, "base", files=["f"])
    snapshotter.prepare("ns", "free")
    snapshotter.prepare("ns", "bound", "base")
    if snapshotter.stacked:
        snapshotter.commit("ns", "top", "free", parent="base")
        assert snapshotter.stat("ns", "top").parent == "base"
        assert len(snapshotter.layers("ns", "top")) == 2
    else:
        with pytest.raises(FailedPreconditionError, match="holds a whole tree"):
            snapshotter.commit("ns", "top", "free", parent="base")
    snapshotter.commit("ns", "other", "bound", parent="base")
    snapshotter.prepare("ns", "again", "base")
    with pytest.raises(FailedPreconditionError, match='is on "base"'):
        snapshotter.commit("ns", "third", "again", parent="other")
