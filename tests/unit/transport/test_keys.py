"""The ring of keys: what is written, what is believed, what is refused."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import stat
from dataclasses import replace

import pytest

from storage.errors import InvalidArgumentError, NotFoundError, StorageError, UnavailableError
from transport.keys import Key, KeyRing, check_public, new_pair


def key(name: str = "one", role: str = "operator") -> Key:
    return Key(name, new_pair().public, role, 1)


def test_the_daemons_own_pair_stays(tmp_path):
    assert KeyRing(tmp_path / "keys").server() == KeyRing(tmp_path / "keys").server()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys/server.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("said", ["", "{", "[]", '{"public": "x"}', '{"public": "x", "secret": "y"}'])
def test_a_damaged_pair_is_named_and_stays(tmp_path, said):
    """A new one in its place would lock out all who know the old one, for good."""
    (tmp_path / "server.json").write_text(said)
    with pytest.raises(StorageError, match=r"server\.json is no pair of keys: restore it, or remove it"):
        KeyRing(tmp_path).server()
    assert (tmp_path / "server.json").read_text() == said


def test_all_who_come_for_the_first_time_get_the_same_pair(tmp_path):
    """Whoever is overtaken between looking and writing takes what is there."""
    with multiprocessing.get_context("fork").Pool(8) as pool:
        pairs = pool.map(first_pair, [tmp_path / f"{number // 8}" for number in range(160)], chunksize=1)
    for number in range(20):
        assert len(set(pairs[number * 8 : number * 8 + 8])) == 1
        assert [path.name for path in (tmp_path / f"{number}").iterdir()] == ["server.json"]


def first_pair(directory):
    return KeyRing(directory).server()


def test_a_key_that_is_revoked_in_the_tick_of_its_arrival_is_not_remembered(tmp_path):
    ring = KeyRing(tmp_path)
    ring.allow(key())
    then = (tmp_path / "clients").stat().st_mtime_ns
    assert len(ring.keys()) == 1
    KeyRing(tmp_path).revoke("one")
    os.utime(tmp_path / "clients", ns=(then, then))  # as on a kernel with a coarse clock
    assert ring.keys() == {}


def test_keys_come_and_go_and_other_readers_see_it(tmp_path):
    ring, reader = KeyRing(tmp_path), KeyRing(tmp_path)
    assert reader.keys() == {}
    one = key()
    ring.allow(one)
    assert reader.keys() == {one.public: one}
    newer = replace(key(), role="observer")
    ring.allow(newer)
    assert reader.keys() == {newer.public: newer}
    ring.revoke("one")
    assert reader.keys() == {}
    with pytest.raises(NotFoundError, match="no key is named one"):
        ring.revoke("one")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"name": "../x"}, "key name"),
        ({"name": ""}, "key name"),
        ({"role": "root"}, "none of observer, operator, admin"),
        ({"public": "x" * 39}, "40 characters"),
        ({"public": '"' * 40}, "40 characters"),
        ({"public": "é" * 40}, "40 characters"),
        ({"public": "#" * 40}, "40 characters"),  # all of Z85, and more than 32 bytes hold
    ],
)
def test_what_is_no_key_is_refused(tmp_path, wrong, what):
    with pytest.raises(InvalidArgumentError, match=what):
        KeyRing(tmp_path).allow(replace(key(), **wrong))
    assert KeyRing(tmp_path).keys() == {}


def test_a_key_has_one_name(tmp_path):
    ring, one = KeyRing(tmp_path), key()
    ring.allow(one)
    with pytest.raises(InvalidArgumentError, match="is one's already"):
        ring.allow(replace(one, name="two"))


def test_a_damaged_file_lets_nobody_in(tmp_path):
    ring = KeyRing(tmp_path)
    ring.allow(key("good"))
    (tmp_path / "clients/half.json").write_text('{"name": "half"')
    (tmp_path / "clients/odd.json").write_text(json.dumps({**vars_of(key("odd")), "role": "king"}))
    assert [one.name for one in ring.keys().values()] == ["good"]


@pytest.fixture
def no_descriptor_left():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 40, before[1]))
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))

    def again() -> None:
        for one in taken:
            os.close(one)
        taken.clear()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    yield again
    again()


@pytest.mark.parametrize("at_the_directory", [True, False])
def test_without_descriptors_nobody_can_say_and_nobody_is_forgotten(
    tmp_path, request, monkeypatch, at_the_directory
):
    """One who had been let in, and whose file could not be opened just then, was kept out for good."""
    ring, one, two = KeyRing(tmp_path), key(), key("two")
    ring.allow(one)
    os.utime(tmp_path / "clients", ns=(1, 1))  # long ago: what is read now is remembered
    if not at_the_directory:  # so that it is short at the file
        found = list((tmp_path / "clients").glob("*.json"))
        monkeypatch.setattr("transport.keys.whole", lambda _: iter(found))
    again = request.getfixturevalue("no_descriptor_left")
    try:
        with pytest.raises(UnavailableError, match="cannot read who may come in: too many open files"):
            ring.keys()
        with pytest.raises(UnavailableError):
            ring.allow(two)
    finally:
        again()
    assert ring.keys() == {one.public: one}


def test_a_key_that_was_only_being_written_lets_nobody_in(tmp_path, monkeypatch):
    """Whoever was told that it failed has nothing to revoke."""
    ring = KeyRing(tmp_path)
    ring.allow(key("good"))

    def full(_descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="cannot enter key bad: no space left"):
        ring.allow(key("bad"))
    assert (tmp_path / "clients/.bad.json").exists()
    assert [one.name for one in KeyRing(tmp_path).keys().values()] == ["good"]


def vars_of(one: Key) -> dict[str, object]:
    return {"name": one.name, "public": one.public, "role": one.role, "created_at": one.created_at}


def test_a_fresh_key_is_one():
    pair = new_pair()
    check_public(pair.public)
    assert pair.public != pair.secret
