"""bbolt's files as containerd writes them, whole, damaged and hostile.

Those that a real containerd has written: tests/e2e/test_moving_over.py.
"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.bbolt import PAGE, ROOT, TARGET, VARINT_300, branch, file, leaf, meta
from storage.archive.bolt import Bolt, Bucket
from storage.archive.containerd import images
from storage.errors import InvalidArgumentError

NONSENSE = {b"digest": b"no", b"size": b"\2"}
WHOLE = file(ROOT)


def test_images_by_namespace():
    [found] = images(WHOLE)["default"]
    assert (found.name, found.target, found.labels) == ("docker.io/library/a:1", TARGET, {"k": "v"})
    assert images(WHOLE).keys() == {"default"}


def test_a_tree_of_pages_in_order_and_the_newest_transaction():
    content = file(
        branch(2, 3, 4), leaf({b"a": b"1", b"b": 5}, 3), leaf({b"c": b"3"}, 4), leaf({b"x": b"9"}, 5)
    )
    items = dict(Bolt(content).root.items())
    assert list(items) == [b"a", b"b", b"c"]
    within = items[b"b"]
    assert isinstance(within, Bucket)
    assert within.values() == {b"x": b"9"}
    later = file(leaf({b"old": b""}, 2), leaf({b"new": b""}, 3))
    later = later[:PAGE] + meta(1, 3, 7).ljust(PAGE, b"\0") + later[2 * PAGE :]
    assert list(Bolt(later).root.values()) == [b"new"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no file of bbolt"),
        (b"\0" * 3 * PAGE, "no file of bbolt"),
        (meta(0, 2, 1, version=3).ljust(2 * PAGE, b"\0"), "another version"),
        (file(leaf({b"v2": {}}, 2)), "no bucket v1"),
        (file(root=7), "page 7 lies beyond"),
        (file(leaf({b"v1": {}}, 3)), "page 2 says that it is 3"),
        (file(branch(2, 2)), "circles"),
        (file(branch(2, *[2] * 200)), "circles"),
        (file(*[branch(page, page + 1) for page in range(2, 40)]), "more than 32 levels"),
        (file(leaf({b"v1": {b"n": {b"images": {b"x": b"value"}}}}, 2)), "image 'x' has no target"),
        (file(leaf({b"v1": {b"n": {b"images": {b"\xff": {}}}}}, 2)), "not valid text"),
        (file(leaf({b"v1": {b"n": {b"images": {b"x": {b"target": NONSENSE}}}}}, 2)), "digest 'no'"),
        (WHOLE.replace(VARINT_300, b"\xff\xff"), "no number"),
    ],
)
def test_what_is_no_such_database_is_refused_by_name(content, text):
    with pytest.raises(InvalidArgumentError, match=text):
        images(content)


@given(st.data())
def test_damage_is_refused_or_changes_what_is_read_and_nothing_else(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        offset = data.draw(st.integers(2 * PAGE, 2 * PAGE + 700) | st.integers(0, 100))
        damaged[offset] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidArgumentError):
        found = images(bytes(damaged[: data.draw(st.integers(2 * PAGE, 3 * PAGE))]))
        assert found.keys() <= {"default"} or len(found) == 1
