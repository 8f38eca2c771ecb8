"""A bundle that is made in advance: it is made once, whenever its container comes to ask for it."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors import messages as m
from actors.bundles import MOST_EXPECTED, BundlesActor, _fill
from actors.settings import Settings
from storage.snapshotters.ids import Shift
from transport.errors import RemoteError

if TYPE_CHECKING:
    from pathlib import Path

ASKED = m.BundlesMake("default", "c", "busybox", "sha256:1", {"args": ["true"]}, "name")


class Bundles(BundlesActor):
    """Makes nothing but a note of it; what is worked on ends when the test says so."""

    def __init__(self, state: Path) -> None:
        self.settings = Settings(root=state, state=state)
        self._makings: dict[str, Any] = {}
        self._expected: dict[str, Any] = {}
        self._own = threading.local()
        self.under_way: list[Any] = []
        self.made: list[m.BundlesMake] = []
        self.failure: Exception | None = None

    def work(self, function: Any, then: Any) -> None:
        self.under_way.append((function, then))

    def _make(self, body: m.BundlesMake) -> dict[str, Any]:
        self.made.append(body)
        if self.failure is not None:
            raise self.failure
        return {"stop_signal": body.name}

    def finish(self, code: int = 0) -> None:
        del code
        while self.under_way:
            function, then = self.under_way.pop(0)
            try:
                result = function()
            except RemoteError as error:
                result = error
            then(result)

    def expect(self, body: m.BundlesMake = ASKED) -> None:
        self.bundles_expect(m.BundlesExpect(**asdict(body)), SimpleNamespace())  # type: ignore[arg-type]

    def ask(self, body: Any = ASKED, *_: Any, **__: Any) -> list[Any]:
        """What is answered, once it is."""
        answers: list[Any] = []
        call: Any = SimpleNamespace(settle=answers.append, envelope=SimpleNamespace(deadline=30_000))
        self.bundles_make(body, call)
        return answers


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    return Bundles(tmp_path)


def test_one_that_is_under_way_is_waited_for(bundles: Bundles):
    bundles.expect()
    answers = bundles.ask()
    assert answers == []
    bundles.finish()
    assert (answers, bundles.made) == ([{"stop_signal": "name"}], [ASKED])


def test_one_that_is_made_is_answered_at_once(bundles: Bundles):
    bundles.expect()
    bundles.finish()
    assert bundles.ask() == [{"stop_signal": "name"}]
    assert bundles.made == [ASKED]


def test_nothing_is_made_where_an_earlier_one_has_yet_to_clear_away(bundles: Bundles):
    bundles.expect()
    bundles.finish()
    bundles.settings.bundle(ASKED.namespace, ASKED.id).mkdir(parents=True)
    bundles.expect()
    assert bundles.under_way == []
    assert bundles.ask() == []
    bundles.finish()
    assert bundles.made == [ASKED, ASKED], "what was made for the earlier one is not claimed either"


def test_an_actor_that_comes_back_has_it_made_anew(bundles: Bundles):
    bundles.expect()
    bundles.finish()
    bundles.ask()
    again = bundles.ask()
    bundles.finish()
    assert (again, bundles.made) == ([{"stop_signal": "name"}], [ASKED, ASKED])


def test_an_actor_that_asks_again_meanwhile_is_answered_by_the_newer_one(bundles: Bundles):
    bundles.expect()
    first, second = bundles.ask(), bundles.ask()
    bundles.finish()
    assert [len(first), len(second)] == [1, 1]
    assert second == [{"stop_signal": "name"}]


def test_one_that_was_given_up_may_be_heard_of_last(bundles: Bundles):
    """Each has a thread of its own, and the later one goes on as soon as the earlier one has ended."""
    first, second = bundles.ask(), bundles.ask()
    (work, then), (later_work, later_then) = bundles.under_way
    results = [work(), later_work()]
    later_then(results[1])
    then(results[0])
    assert [len(first), len(second)] == [1, 1]
    assert bundles._makings == {}


def test_what_was_not_expected_so_is_made_as_it_is_asked_for(bundles: Bundles):
    other = replace(ASKED, options={"args": ["false"]}, name="other")
    bundles.expect()
    bundles.finish()
    answers = bundles.ask(other)
    bundles.finish()
    assert (answers, bundles.made) == ([{"stop_signal": "other"}], [ASKED, other])


def test_why_it_could_not_be_made_is_told_once_and_then_it_is_tried_again(bundles: Bundles):
    bundles.failure = RemoteError("failed_precondition", "not unpacked")
    bundles.expect()
    bundles.finish()
    assert bundles.ask() == [bundles.failure]
    bundles.failure = None
    again = bundles.ask()
    bundles.finish()
    assert again == [{"stop_signal": "name"}]


def test_the_oldest_that_nobody_asked_for_is_forgotten(bundles: Bundles):
    for number in range(MOST_EXPECTED + 1):
        bundles.expect(replace(ASKED, id=f"c{number}"))
    bundles.finish()
    assert len(bundles._expected) == MOST_EXPECTED
    bundles.ask(replace(ASKED, id="c0"))
    bundles.ask(replace(ASKED, id="c1"))
    bundles.finish()
    assert [one.id for one in bundles.made[-1:]] == ["c0"]
    assert len(bundles.made) == MOST_EXPECTED + 2


def test_a_dry_run_does_not_meet_another_of_the_same_container(
    bundles: Bundles, monkeypatch: pytest.MonkeyPatch
):
    """Each would unmount the other's root, and remove its snapshot."""
    places: list[Path] = []
    snapshots: list[str] = []

    def snapshot(_body: Any, key: str, _image: Any) -> Any:
        snapshots.append(key)
        return dict

    monkeypatch.setattr(bundles, "_image", lambda *_: SimpleNamespace(config={}))
    monkeypatch.setattr(bundles, "_snapshot", snapshot)
    monkeypatch.setattr(bundles, "_mount_root", lambda *_, **__: None)
    monkeypatch.setattr(bundles, "_remove_dry", lambda _, directory: places.append(directory))
    monkeypatch.setattr("actors.bundles.composing.all_mounts", lambda *_: [])
    monkeypatch.setattr("actors.bundles.composing.compose", lambda *_: {})
    body = m.BundlesSpec("default", "c" * 64, "busybox", "sha256:1", {"args": ["true"]})
    for _ in range(2):
        bundles._show(body)
    assert len(set(places)) == len(set(snapshots)) == 2


@pytest.mark.parametrize("names", [[], ["file"], ["deep"]])
def test_the_first_content_of_a_volume_is_on_the_disk_before_it_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
):
    """A power cut left empty files, in a volume that was not filled again."""
    synced: list[list[str]] = []
    monkeypatch.setattr(
        "actors.bundles.sync_filesystem", lambda place: synced.append([one.name for one in place.iterdir()])
    )
    (tmp_path / "root/etc").mkdir(parents=True)
    for name in names:
        (tmp_path / "root/etc" / name).touch() if name == "file" else (tmp_path / "root/etc" / name).mkdir()
    _fill(tmp_path / "root", "/etc", tmp_path / "seed", Shift())
    assert [path.name for path in (tmp_path / "seed").iterdir()] == names
    assert synced == ([names] if names else [])


def test_of_what_a_runtime_is_given_a_copy_is_kept_whole_or_not_at_all(
    bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Whoever reads them would take half a one for what a runtime was given."""
    bundle, kept = tmp_path / "default" / "c", tmp_path / "kept"
    for directory in (bundle, kept):
        directory.mkdir(parents=True)
    bundles.settings = replace(bundles.settings, runtime_keep_specs=str(kept))
    real = shutil.copyfile

    def killed(_source: Path, target: Path) -> None:
        target.write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", killed)
    with pytest.raises(KeyboardInterrupt):
        bundles._write_spec(ASKED, bundle, {"ociVersion": "1.0.2"})
    assert list(kept.glob("*.json")) == []
    monkeypatch.setattr(shutil, "copyfile", real)
    bundles._write_spec(ASKED, bundle, {"ociVersion": "1.0.2"})
    (copy,) = kept.glob("default+c+*.json")
    assert json.loads(copy.read_text()) == {"ociVersion": "1.0.2"}
