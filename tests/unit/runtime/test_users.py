"""The six forms of `user`, and the files of a hostile image."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime import users
from actors.runtime.errors import InvalidSpecError
from actors.runtime.users import Identity

PASSWD = """\
# a comment
root:x:0:0:root:/root:/bin/sh
broken line
+nis::::::
app:x:1000:1001:App:/srv/app:/bin/sh
odd:x:5:6
huge:x:4294967295:0::/:
negative:x:-1:0::/:
relative:x:7:7::home:
zero:x:0007:8::/zero:
"""
GROUP = """\
root:x:0:
wheel:x:10:root,app
app:x:1001:app
audio:x:29:app,other
again:x:29:app
big:x:4294967296:nobody
bad:x:abc:nobody
"""


@pytest.fixture
def rootfs(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return tmp_path


def resolve(user, rootfs):
    return users.resolve(user, users.opener(rootfs))


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", Identity(0, 0, (0, 10), "/root")),
        ("root", Identity(0, 0, (0, 10), "/root")),
        ("app", Identity(1000, 1001, (1001, 10, 29), "/srv/app")),
        ("1000", Identity(1000, 1001, (1001, 10, 29), "/srv/app")),
        ("app:audio", Identity(1000, 29, (29,), "/srv/app")),
        ("1000:29", Identity(1000, 29, (29,), "/srv/app")),
        ("1000:audio", Identity(1000, 29, (29,), "/srv/app")),
        ("app:4242", Identity(1000, 4242, (4242,), "/srv/app")),
        ("4242", Identity(4242, 0, (0,), "/")),
        ("4242:4343", Identity(4242, 4343, (4343,), "/")),
        ("2147483647:2147483647", Identity(2147483647, 2147483647, (2147483647,), "/")),
        ("odd", Identity(5, 6, (6,), "/")),
        ("relative", Identity(7, 7, (7,), "/")),
        ("0000", Identity(0, 0, (0, 10), "/root")),
    ],
)
def test_every_form(rootfs, user, expected):
    assert resolve(user, rootfs) == expected


@pytest.mark.parametrize(
    "user",
    [
        *("nobody-here", "app:no-such-group", "no-such:app", "huge", "negative", "app:big", "app:bad"),
        *("2147483648", "4294967295", "4294967296", "-1", "+1", "0:-1", "0:2147483648", "9" * 5000),
        *(":", "app:", ":app", "app:app:app", "broken line", "#", "# a comment", "\u0661", "\u00b2"),
    ],
)
def test_what_is_unknown_or_out_of_range_is_refused_and_never_root(rootfs, user):
    with pytest.raises(InvalidSpecError) as caught:
        resolve(user, rootfs)
    assert len(str(caught.value)) < 200


def test_numbers_need_no_files_but_names_do(tmp_path):
    assert resolve("", tmp_path) == Identity(0, 0, (0,), "/")
    assert resolve("12:13", tmp_path) == Identity(12, 13, (13,), "/")
    with pytest.raises(InvalidSpecError, match="'app' is not in the container's /etc/passwd"):
        resolve("app", tmp_path)


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_file_is_read_up_to_a_bound(rootfs, name):
    with (rootfs / "etc" / name).open("a") as file:
        file.truncate(10 << 20)
    assert resolve("root:root", rootfs).uid == 0
    with (rootfs / "etc" / name).open("a") as file:
        file.truncate((10 << 20) + 1)
    with pytest.raises(InvalidSpecError, match=f"/etc/{name} exceeds 10485760 bytes"):
        resolve("root:root", rootfs)


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_only_a_regular_file_is_read(rootfs, name, kind):
    path = rootfs / "etc" / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(f"/etc/{name}")
    with pytest.raises(
        InvalidSpecError, match=f"/etc/{name} (is not a regular file|cannot be opened: a link)"
    ):
        resolve("root:root", rootfs)


@pytest.mark.root
def test_a_device_is_not_opened(rootfs):
    (rootfs / "etc/passwd").unlink()
    os.mknod(rootfs / "etc/passwd", 0o600 | 0o020000, os.makedev(1, 5))
    with pytest.raises(InvalidSpecError, match="not a regular file"):
        resolve("root", rootfs)


def test_a_linked_folder_does_not_lead_out(rootfs, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "passwd").write_text("app:x:0:0::/:\n")
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/group").unlink()
    (rootfs / "etc").rmdir()
    (rootfs / "etc").symlink_to(outside)
    with pytest.raises(InvalidSpecError, match="a link leads there"):
        resolve("app", rootfs)


def test_no_descriptor_is_left_open(rootfs):
    def count():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (a count, no paths)

    before = count()
    for user in ("app", "nobody-here", "", "app:no"):
        try:
            resolve(user, rootfs)
        except InvalidSpecError:
            continue
    assert count() == before


@given(st.text())
def test_any_text_is_an_identity_in_range_or_refused(tmp_path_factory, user):
    root = tmp_path_factory.getbasetemp()
    try:
        found = resolve(user, root)
    except InvalidSpecError:
        return
    assert 0 <= found.uid < 1 << 31
    assert user == "" or user.replace(":", "").isdigit()
