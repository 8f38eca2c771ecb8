"""A host that cannot freeze is told of to whoever wants that, and to nobody else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from actors.freezing import Freezing
from actors.lifecycle import State
from actors.linux import cgroups
from transport.errors import RemoteError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def freezing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Freezing:
    """On a host that has only the controller of memory mounted."""
    layout = cgroups.Layout(cgroups.Kind.V1, tmp_path, (tmp_path,), {"memory": tmp_path})
    monkeypatch.setattr(cgroups, "mounted", lambda: layout)
    (tmp_path / "n/c").mkdir(parents=True)
    actor = SimpleNamespace(state=State("running", run=1), bundle=tmp_path / "n/c", later=lambda *_: None)

    def work(function: Any, then: Any) -> None:
        try:
            then(function())
        except OSError as error:
            then(error)

    actor.work = work
    return Freezing(actor)  # type: ignore[arg-type]


def test_whoever_wants_it_frozen_hears_why_it_cannot_be(freezing: Freezing):
    heard: list[Any] = []
    freezing.freeze(5.0, SimpleNamespace(settle=heard.append))  # type: ignore[arg-type]
    (error,) = heard
    assert isinstance(error, RemoteError)
    assert "no freezer is mounted" in str(error)
    assert freezing.is_idle()


def test_a_new_incarnation_thaws_what_could_not_be_frozen(freezing: Freezing):
    freezing.thaw()
    assert freezing.is_idle()


def test_a_cgroup_that_goes_while_it_is_frozen_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layout = cgroups.Layout(cgroups.Kind.V1, tmp_path, (tmp_path,), {"freezer": tmp_path})
    (tmp_path / "a").mkdir()
    (tmp_path / "a/freezer.state").touch()
    monkeypatch.setattr("actors.linux.cgroups.time.sleep", lambda _: (tmp_path / "a/freezer.state").unlink())
    monkeypatch.setattr("actors.linux.cgroups.Path.write_text", lambda *_: None)
    assert cgroups.freeze(layout, "/a", frozen=True, wait=60.0)
