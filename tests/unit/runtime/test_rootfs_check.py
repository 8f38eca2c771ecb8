"""A root that would lead a runtime to the host never reaches it."""

import os

import pytest

from actors.runtime import rootfs_check
from actors.runtime.errors import InvalidSpecError

DEFAULTS = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys", "/run"]


@pytest.fixture
def rootfs(tmp_path):
    for name in ("dev", "proc", "sys", "etc", "var"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_an_ordinary_root_and_an_empty_one_pass(rootfs, tmp_path_factory):
    rootfs_check.check(rootfs, [*DEFAULTS, "/etc/hosts", "/data/a/b"])
    rootfs_check.check(tmp_path_factory.mktemp("empty"), DEFAULTS)


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("target", ["/", "var", "nowhere"])
def test_a_pseudo_file_system_behind_a_link_is_refused(rootfs, name, target):
    (rootfs / name).rmdir()
    (rootfs / name).symlink_to(target)
    with pytest.raises(InvalidSpecError, match=f"^/{name} of the root file system is a link"):
        rootfs_check.check(rootfs, [])


def test_a_pseudo_file_system_on_a_file_is_refused(rootfs):
    (rootfs / "dev").rmdir()
    (rootfs / "dev").touch()
    with pytest.raises(InvalidSpecError, match=r"^/dev of the root"):
        rootfs_check.check(rootfs, [])


@pytest.mark.parametrize("destination", ["/var/lib/data", "/var/lib/data/deep", "//var/./lib/data/"])
def test_a_parent_of_a_target_behind_a_link_is_refused(rootfs, destination):
    (rootfs / "var/lib").symlink_to("/etc")
    with pytest.raises(InvalidSpecError, match=r"^/var/lib of the root file system is a link"):
        rootfs_check.check(rootfs, [destination])


def test_a_link_as_the_target_itself_stays_inside_and_passes(rootfs):
    (rootfs / "etc/resolv.conf").symlink_to("../run/resolv.conf")
    rootfs_check.check(rootfs, ["/etc/resolv.conf"])


@pytest.mark.parametrize("destination", ["data", "", "/data/../..", "/..", "/a\0b"])
def test_a_destination_that_climbs_or_is_relative_is_refused(rootfs, destination):
    with pytest.raises(InvalidSpecError, match="not absolute and free of"):
        rootfs_check.check(rootfs, [destination])


def test_no_descriptor_is_left_open(rootfs):
    (rootfs / "var/lib").symlink_to("/etc")
    before = os.dup(0)
    os.close(before)
    for destination in ("/etc/a", "/var/lib/x", "/var/missing/x"):
        try:
            rootfs_check.check(rootfs, [destination])
        except InvalidSpecError:
            continue
    after = os.dup(0)
    os.close(after)
    assert after == before
