"""Random trees: written as a tar, applied, compared; then written by us, applied again, compared again."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.linux.openat2 import open_in_root
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.layer.diff import write_layer
from storage.layer.limits import Limits
from storage.layer.names import Meaning, components, target
from tests.unit.layer.applied import apply_to
from tests.unit.layer.crafted import Tar, names, tree

needs_root = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

component = st.text("abcdé .-_", min_size=1, max_size=12).filter(
    lambda text: text.strip(".") and text == text.strip()
)
ids = st.one_of(st.integers(0, 70_000), st.integers(0, 4294967294))
attributes = st.fixed_dictionaries(
    {
        "mode": st.integers(0, 0o7777),
        "uid": ids,
        "gid": ids,
        "mtime": st.integers(0, 4_000_000_000),
        "xattrs": st.dictionaries(
            st.sampled_from(["user.a", "user.b", "trusted.c", "trusted.d=%3D"]),
            st.binary(max_size=40),
            max_size=2,
        ),
    }
)
nodes = st.recursive(
    st.one_of(
        st.tuples(st.just("file"), st.binary(max_size=2000), attributes),
        st.tuples(st.just("link"), component, attributes),
        st.tuples(st.just("fifo"), st.none(), attributes),
        st.tuples(st.just("device"), st.tuples(st.integers(1, 4095), st.integers(0, 1048575)), attributes),
    ),
    lambda inner: st.tuples(st.just("dir"), st.dictionaries(component, inner, max_size=4), attributes),
    max_leaves=12,
)
trees = st.dictionaries(component, nodes, max_size=5)


def add(tar, path, node):
    kind, value, given_attributes = node
    fields = dict(given_attributes)
    if kind == "dir":
        tar.dir(path, **fields)
        for name, inner in value.items():
            add(tar, f"{path}/{name}", inner)
        return
    if kind in ("link", "fifo", "device"):
        fields["xattrs"] = {key: data for key, data in fields["xattrs"].items() if key.startswith("trusted.")}
    if kind == "file":
        tar.file(path, value, **fields)
    elif kind == "link":
        del fields["mode"], fields["xattrs"]
        tar.symlink(path, value, **fields)
    elif kind == "fifo":
        tar.add(path, b"6", **fields)
    else:
        tar.add(path, b"3", major=value[0], minor=value[1], **fields)


def matches(described, node):
    kind, value, wanted = node
    mode, uid, gid, mtime, content, xattrs = described
    flag = {"dir": "d", "file": "-", "link": "l", "fifo": "p", "device": "c"}[kind]
    assert (mode[0], uid, gid, mtime) == (flag, wanted["uid"], wanted["gid"], wanted["mtime"] * 10**9)
    if kind in ("file", "link", "device"):
        assert content == value
    if kind in ("file", "dir"):
        assert dict(xattrs) == wanted["xattrs"]
    return value if kind == "dir" else {}


def check(found, nodes_by_name, prefix=""):
    for name, node in nodes_by_name.items():
        check(found, matches(found.pop(prefix + name), node), f"{prefix}{name}/")


def written(upper, **options):
    pieces = []
    result = write_layer(upper, pieces.append, open_in_root=open_in_root, **options)
    data = b"".join(pieces)
    assert result.size == len(data)
    return data, result


class TestRoot:
    pytestmark = needs_root

    @settings(max_examples=60)
    @given(trees)
    def test_tree_to_tar_to_tree_to_tar(self, wanted):
        tar = Tar()
        for name, node in wanted.items():
            add(tar, name, node)
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder) / "1", Path(folder) / "2"
            first.mkdir()
            second.mkdir()
            apply_to(first, tar)
            found = tree(first)
            del found[""]
            check(found, wanted)
            assert found == {}
            data, result = written(first)
            assert apply_to(second, data).diff_id == result.diff_id
            assert tree(second) == tree(first)
            assert written(second)[0] == data

    @pytest.mark.parametrize("userxattr", [False, True])
    def test_whiteouts_opaque_directories_and_links_come_back(self, tmp_path, userxattr):
        lower, upper, again = tmp_path / "lower", tmp_path / "upper", tmp_path / "again"
        for folder in (lower, upper, again):
            folder.mkdir()
        apply_to(lower, Tar().dir("d").file("d/old").dir("e").file("e/x").file("f"))
        layer = Tar().file(".wh.f").dir("d").file("d/.wh..wh..opq").file("d/y", b"y").file("e/.wh.x")
        layer.hardlink("d/z", "d/y").file("n" * 150, b"n", pax={b"mtime": b"5.000000001"})
        options = {"lowers": [lower], "userxattr": userxattr}
        apply_to(upper, layer, **options)
        data, result = written(upper, userxattr=userxattr)
        apply_to(again, data, **options)
        assert tree(again) == tree(upper)
        assert result.entries == 9

    def test_sockets_are_left_out_and_reserved_names_refused(self, tmp_path):
        os.mknod(tmp_path / "socket", 0o140600)
        assert written(tmp_path)[1].entries == 1
        (tmp_path / ".wh.x").touch()
        with pytest.raises(InvalidArgumentError, match="cannot be in a layer"):
            written(tmp_path)

    def test_an_upper_that_refers_to_its_lowers_is_refused(self, tmp_path):
        (tmp_path / "d").mkdir()
        os.setxattr(tmp_path / "d", "trusted.overlay.redirect", b"/e")
        with pytest.raises(FailedPreconditionError, match="redirect"):
            written(tmp_path)

    def test_a_link_in_the_upper_is_not_followed(self, tmp_path):
        (tmp_path / "l").symlink_to("/etc")
        data, _ = written(tmp_path)
        assert b"passwd" not in data
        assert names(tmp_path) == ["l"]


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        (b"a/b", [b"a", b"b"]),
        (b"//a/./b/", [b"a", b"b"]),
        (b"../../a/../b", [b"b"]),
        (b"a/..", []),
        (b"...", [b"..."]),
    ],
)
def test_components(path, parts):
    assert components(path) == parts


@given(st.binary(max_size=60))
def test_no_name_leads_out(path):
    try:
        found = target(path, Limits())
    except InvalidArgumentError:
        return
    for part in [*found.directory.split(b"/"), found.name]:
        assert part not in (b".", b"..")
        assert b"/" not in part
    if found.meaning in (Meaning.PLACE, Meaning.WHITEOUT):
        assert found.name
