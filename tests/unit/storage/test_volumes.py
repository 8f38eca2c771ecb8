"""The first content of a volume is put in place once, whoever dies over it and whatever is there already."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage.errors import FullError
from storage.volumes import Volume, Volumes


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path)


def _seeded(volumes: Volumes, container: str) -> Volume:
    """What a container that is being prepared does."""
    volume = volumes.create("n", "v", {})
    seed = volumes.seed(volume, container)
    seed.mkdir()
    (seed / "file").write_text(container)
    return volume


def _content(volumes: Volumes, volume: Volume) -> dict[str, str]:
    return {path.name: path.read_text() for path in volumes.data(volume).iterdir()}


def test_the_first_of_two_is_the_one(volumes: Volumes):
    for container in ("a", "b"):
        volume = _seeded(volumes, container)
    for container in ("a", "b"):
        volumes.settle(volume, container)
    assert _content(volumes, volume) == {"file": "a"}
    assert sorted(path.name for path in volumes.data(volume).parent.iterdir()) == ["data", "volume.json"]


def test_one_that_was_killed_before_it_was_on_record_is_settled_then(
    volumes: Volumes, monkeypatch: pytest.MonkeyPatch
):
    """The seed was in place. Made anew, it could not take that place, and the actor ended over it."""
    volume = _seeded(volumes, "a")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(volumes, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            volumes.settle(volume, "a")
    assert not volumes.get("n", "v").settled
    volume = _seeded(volumes, "a")
    volumes.settle(volume, "a")
    assert volumes.get("n", "v").settled
    assert _content(volumes, volume) == {"file": "a"}
    assert sorted(path.name for path in volumes.data(volume).parent.iterdir()) == ["data", "volume.json"]


def test_what_somebody_has_put_there_by_hand_stays(volumes: Volumes):
    volume = _seeded(volumes, "a")
    (volumes.data(volume) / "mine").write_text("kept")
    volumes.settle(volume, "a")
    assert volumes.get("n", "v").settled
    assert _content(volumes, volume) == {"mine": "kept"}


@pytest.mark.parametrize("step", ["mkdir", "fsync", "rename"])
def test_one_that_finds_no_room_leaves_nothing_and_can_be_made_later(tmp_path, monkeypatch, step):
    volumes = Volumes(tmp_path / "volumes")

    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else Path, step, full)
        with pytest.raises(FullError, match='cannot make volume "v": no space left on device on the file'):
            volumes.create("ns", "v", {})
    assert list((tmp_path / "volumes").glob("*/*")) == []
    assert volumes.create("ns", "v", {}).name == "v"


def test_a_list_comes_in_pages(volumes: Volumes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("storage.volumes.PAGE_ROWS", 2)
    for namespace, name in (("b", "2"), ("a", "x"), ("b", "10"), ("a-b", "0"), ("b", "1")):
        volumes.create(namespace, name, {})
    (volumes.data(volumes.get("b", "1")).parent / "volume.json").write_text("damaged")
    found, after = [], ""
    while True:
        some, after = volumes.page("", after)
        assert len(some) <= 2
        found += some
        if not after:
            break
    assert found == volumes.list("")
    assert [one.name for one in volumes.page("b", "b 10")[0]] == ["2"]


def test_a_page_ends_where_labels_are_many(volumes: Volumes):
    for number in range(60):
        labels = {f"key{one:03}": "v" * 4000 for one in range(50)}
        volumes.create("n", f"v{number:02}", labels)
    some, after = volumes.page("n", "")
    assert 20 <= len(some) < 30
    assert after == f"n {some[-1].name}"
