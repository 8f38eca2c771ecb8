"""Options, mountinfo, and real mounts in a scratch folder."""

import errno
import os
import string
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.linux import mount_options, mount_values, mountinfo, mounts
from actors.linux.mount_options import Options
from actors.linux.mount_values import Mount

needs_root = pytest.mark.root


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def scratch(tmp_path):
    """A folder of two lower directories, an upper one, and a target; whatever is mounted is detached."""
    for name in ("lower/12/fs", "lower/11/fs", "upper", "work", "target"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/12/fs/a").write_text("twelve")
    (tmp_path / "lower/11/fs/b").write_text("eleven")
    yield tmp_path
    mounts.umount_below(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), Options(0, 0, "")),
        (
            ("rbind", "ro"),
            Options(mount_options.MS_BIND | mount_options.MS_REC | mount_options.MS_RDONLY, 0, ""),
        ),
        (("ro", "rw"), Options(0, 0, "")),
        (("rw", "ro"), Options(mount_options.MS_RDONLY, 0, "")),
        (("index=off", "lowerdir=12/fs:11/fs"), Options(0, 0, "index=off,lowerdir=12/fs:11/fs")),
        (
            ("nosuid", "mode=755", "rslave"),
            Options(mount_options.MS_NOSUID, mount_options.MS_SLAVE | mount_options.MS_REC, "mode=755"),
        ),
        (("private",), Options(0, mount_options.MS_PRIVATE, "")),
        (("defaults", "suid", "dev"), Options(0, 0, "")),
    ],
)
def test_words_become_flags_and_data(words, expected):
    assert mount_options.parse_options(words) == expected


def test_a_line_of_mountinfo():
    line = (
        "36 35 98:0 /mnt\\0401 /a\\040b\\134c rw,noatime shared:1 master:2 - ext3 /dev/r\\011t rw,errors=x\n"
    )
    (point,) = mountinfo.parse_mountinfo(line)
    assert point.target == "/a b\\c"
    assert point.root == "/mnt 1"
    assert point.source == "/dev/r\tt"
    assert point.options == ("rw", "noatime")
    assert point.propagation == ("shared:1", "master:2")
    assert point.super_options == ("rw", "errors=x")
    assert (point.mount_id, point.parent_id, point.type) == (36, 35, "ext3")
    assert point.device == os.makedev(98, 0)


def test_a_line_without_propagation():
    (point,) = mountinfo.parse_mountinfo("1 0 0:1 / / rw - rootfs rootfs rw")
    assert point.propagation == ()


@given(st.text(string.printable + "é\udcff", min_size=1))
def test_any_name_survives_the_kernels_escapes(name):
    escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\#" else c for c in name)
    (point,) = mountinfo.parse_mountinfo(f"1 0 0:1 / /{escaped} rw - tmpfs {escaped} rw\n")
    assert point.target == f"/{name}"
    assert point.source == name


def test_what_is_mounted_here_can_be_read():
    points = mountinfo.mount_points()
    assert any(point.target == "/" for point in points)
    assert any(point.type == "proc" for point in points)


def test_what_the_kernel_shows_is_known_by_its_device():
    found = mountinfo.kernel_devices(os.getpid())
    assert Path("/proc").stat().st_dev in found
    assert Path("/").stat().st_dev not in found
    with pytest.raises(FileNotFoundError):
        mountinfo.kernel_devices(1 << 30)


def test_options_beyond_a_page_are_refused_by_name(tmp_path):
    with pytest.raises(OSError, match="exceed 4095") as caught:
        mounts.mount("overlay", str(tmp_path), "overlay", 0, "x" * 4096)
    assert caught.value.errno == errno.E2BIG
    assert caught.value.filename == str(tmp_path)


@needs_root
def test_an_overlay_with_a_base_leaves_the_working_directory_alone(scratch):
    here = Path.cwd()
    threads = threading.active_count()
    options = ("index=off", "lowerdir=12/fs:11/fs", "upperdir=../upper", "workdir=../work")
    value = Mount("overlay", "overlay", options, str(scratch / "lower"))
    mounts.mount_all([value], str(scratch / "target"))
    assert names(scratch / "target") == ["a", "b"]
    assert Path.cwd() == here
    assert threading.active_count() == threads
    mounts.umount(str(scratch / "target"))
    assert names(scratch / "target") == []


@needs_root
@pytest.mark.parametrize(
    ("name", "many", "threads"),
    [("lower", 1, 0), ("with space", 1, 0), ("a,b", 1, 1), ("a:b", 1, 1), ("a\\b", 1, 1), ("c" * 200, 20, 1)],
    ids=["short", "space", "comma", "colon", "backslash", "too long in full"],
)
def test_a_thread_changes_its_directory_only_where_full_paths_would_not_do(
    scratch, monkeypatch, name, many, threads
):
    base = (scratch / "lower").rename(scratch / name)
    lowers = ["12/fs", "11/fs"]
    for number in range(many):
        (base / f"{number}/more").mkdir(parents=True)
        lowers.append(f"{number}/more")
    begun = []

    def in_own_thread(flags, work):
        begun.append(flags)
        return threading_of(flags, work)

    threading_of = mounts.in_own_thread
    monkeypatch.setattr(mounts, "in_own_thread", in_own_thread)
    value = Mount("overlay", "overlay", ("ro", f"lowerdir={':'.join(lowers)}"), str(base))
    mounts.mount_one(value, str(scratch / "target"))
    assert names(scratch / "target") == ["a", "b"]
    assert len(begun) == threads


@needs_root
def test_a_target_is_relative_to_the_caller_not_to_the_base(scratch, monkeypatch):
    monkeypatch.chdir(scratch)
    value = Mount("overlay", "overlay", ("ro", "lowerdir=12/fs:11/fs"), str(scratch / "lower"))
    mounts.mount_one(value, "target")
    assert mountinfo.is_mount_point(str(scratch / "target"))


@needs_root
def test_a_read_only_bind_is_read_only(scratch):
    target = scratch / "target"
    mounts.mount_one(Mount("bind", str(scratch / "lower"), ("rbind", "ro")), str(target))
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").touch()
    (scratch / "lower/new").touch()
    (point,) = mountinfo.mounted_below(str(target))
    assert "ro" in point.options


@needs_root
def test_a_bind_takes_propagation_and_flags(scratch):
    target = str(scratch / "target")
    mounts.mount_one(Mount("bind", str(scratch / "lower"), ("rbind", "nosuid", "noexec", "shared")), target)
    (point,) = mountinfo.mounted_below(target)
    assert {"nosuid", "noexec", "rw"} <= set(point.options)
    assert point.propagation[0].startswith("shared:")


@needs_root
def test_a_list_is_mounted_whole_or_not_at_all(scratch):
    target = str(scratch / "target")
    tmpfs = Mount("tmpfs", "tmpfs", ("nosuid", "size=64k"))
    with pytest.raises(OSError, match="No such device"):
        mounts.mount_all([tmpfs, tmpfs, Mount("no-such-fs", "x")], target)
    assert mountinfo.mounted_below(target) == []
    mounts.mount_all([tmpfs, tmpfs], target)
    assert len(mountinfo.mounted_below(target)) == 2


@needs_root
def test_a_mount_whose_second_step_fails_is_taken_back(scratch):
    target = str(scratch / "target")
    value = Mount("bind", str(scratch / "no-such"), ("bind", "ro"))
    with pytest.raises(FileNotFoundError) as caught:
        mounts.mount_one(value, target)
    assert caught.value.filename == target
    assert mountinfo.mounted_below(target) == []


@needs_root
def test_what_is_stacked_goes_with_all_beneath_it(scratch):
    target = scratch / "target"
    for _ in range(2):
        mounts.mount("tmpfs", str(target), "tmpfs")
    (target / "inner").mkdir()
    mounts.mount("tmpfs", str(target / "inner"), "tmpfs")
    mounts.umount_stack(str(target))
    assert mountinfo.mounted_below(str(target)) == []
    mounts.umount_stack(str(target))
    mounts.umount_stack(str(target / "nothing"))


@needs_root
def test_what_lies_in_a_directory_is_unmounted_without_a_look_at_the_table(scratch, monkeypatch):
    target, outside = scratch / "target", scratch / "outside"
    for name in ("deep", "deep/deeper", "shadow"):
        (target / name).mkdir()
    for name in ("file", "deep/deeper/file"):
        (target / name).write_text("below")
        mounts.bind(str(target / name), str(target / name))
    mounts.mount("tmpfs", str(target / "deep"), "tmpfs")  # hides one that is mounted
    outside.mkdir()
    mounts.mount("tmpfs", str(outside), "tmpfs")
    (target / "link").symlink_to(outside)
    with monkeypatch.context() as patched:
        patched.delattr(mountinfo, "_mountinfo")
        mounts.umount_within(str(target))
        mounts.umount_within(str(target / "nothing"))
    assert mountinfo.mounted_below(str(target)) == []
    assert (target / "deep/deeper/file").read_text() == "below"
    assert mountinfo.is_mount_point(str(outside))


@needs_root
def test_everything_below_is_unmounted_deepest_first(scratch):
    target = scratch / "target"
    for name in ("", "in ner", "in ner/most"):
        (target / name).mkdir(exist_ok=True)
        mounts.mount("tmpfs", str(target / name), "tmpfs")
    (scratch / "target-2").mkdir()
    mounts.mount("tmpfs", str(scratch / "target-2"), "tmpfs")
    found = [point.target for point in mountinfo.mounted_below(str(target))]
    assert found == [str(target / "in ner/most"), str(target / "in ner"), str(target)]
    mounts.umount_below(str(target))
    mounts.umount_below(str(target))
    assert mountinfo.mounted_below(str(target)) == []
    assert mountinfo.is_mount_point(str(scratch / "target-2"))


@needs_root
def test_a_busy_mount_goes_only_when_detached(scratch):
    target = scratch / "target"
    mounts.mount("tmpfs", str(target), "tmpfs")
    with (target / "open").open("w"):
        with pytest.raises(OSError, match="busy") as caught:
            mounts.umount(str(target))
        assert caught.value.errno == errno.EBUSY
        mounts.umount(str(target), detach=True)
    with pytest.raises(OSError, match="Invalid") as caught:
        mounts.umount(str(target))
    assert caught.value.errno == errno.EINVAL


def test_an_overlay_of_many_directories_is_named_from_what_they_have_in_common():
    lowers = [f"/a/b/{number}/fs" for number in range(1000)]
    named = Mount("overlay", "overlay", ("index=off", f"lowerdir={':'.join(lowers)}", "workdir=/a/b/3/work"))
    found = mount_values.shortened(named)
    assert found.base == "/a/b"
    assert found.options[0] == "index=off"
    assert found.options[1].startswith("lowerdir=0/fs:1/fs:2/fs:")
    assert found.options[2] == "workdir=3/work"


LONG = "x" * 5000


@pytest.mark.parametrize(
    "options", [("lowerdir=/a:/b",), (f"ro,{LONG}",), (f"lowerdir={LONG}:b",), (f"lowerdir=/a\\:{LONG}:/c",)]
)
def test_what_is_short_or_cannot_be_shortened_stays(options):
    for kind in ("overlay", "bind"):
        assert mount_values.shortened(Mount(kind, "x", options)) == Mount(kind, "x", options)


def overlay(scratch, *more):
    options = ("lowerdir=lower/12/fs", "upperdir=upper", "workdir=work", *more)
    return Mount("overlay", "overlay", options, str(scratch))


def options_of(target):
    (line,) = (line for line in Path("/proc/mounts").read_text().splitlines() if line.split()[1] == target)
    return line.split()[3]  # later kernels say fsync=volatile


@needs_root
def test_what_is_brief_is_not_asked_for_on_disk_however_often_it_is_mounted(scratch):
    target = str(scratch / "target")
    for number in range(3):  # the second time overlayfs would refuse what it was once told
        mounts.mount_own([overlay(scratch)], target, brief=True)
        assert "volatile" in options_of(target)
        Path(target, str(number)).write_text("kept")
        mounts.umount(target)
    mounts.mount_own([overlay(scratch)], target, brief=False)
    assert "volatile" not in options_of(target)
    assert names(Path(target)) == ["0", "1", "2", "a"]
    mounts.umount(target)


@needs_root
def test_a_kernel_that_does_not_know_it_mounts_what_is_brief_as_ever(scratch, monkeypatch):
    real, asked = mounts.mount, []

    def older(source, target, fstype="", flags=0, options=""):
        asked.append("volatile" in options)
        if asked[-1]:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(source, target, fstype, flags, options)

    monkeypatch.setattr(mounts, "mount", older)
    mounts.mount_own([overlay(scratch)], str(scratch / "target"), brief=True)
    assert asked == [True, False]
    assert "volatile" not in options_of(str(scratch / "target"))


@needs_root
def test_what_has_no_layer_to_write_to_is_mounted_as_it_is(scratch):
    bind = Mount("bind", str(scratch / "lower"), ("bind", "ro"))
    mounts.mount_own([bind], str(scratch / "target"), brief=True)
    assert names(scratch / "target") == ["11", "12"]
    mounts.umount(str(scratch / "target"))
    two = "lowerdir=lower/12/fs:lower/11/fs"
    mounts.mount_own([Mount("overlay", "overlay", (two,), str(scratch))], str(scratch / "target"), brief=True)
    assert "volatile" not in options_of(str(scratch / "target"))


@pytest.mark.parametrize(
    ("maps", "upper"), [((), "3/fs"), (("uidmap=0:100000:65536", "gidmap=0:100000:65536"), "/snapshots/3/fs")]
)
def test_without_a_writable_layer_the_upper_one_keeps_its_owners(maps, upper):
    """It is not mapped where the lower ones are: what its container has made would be nobody's."""
    options = (*maps, "lowerdir=2/fs:1/fs", "upperdir=3/fs", "workdir=3/work")
    found = mount_values.read_only(Mount("overlay", "overlay", options, "/snapshots"))
    assert found.options == (*maps, "ro", f"lowerdir={upper}:2/fs:1/fs")
    assert found.base == "/snapshots"
