"""The files of containers, for jobs that read them: those of one that has never run are made first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors import messages as m
from actors.jobs.container import files_of
from actors.jobs.rootfs import with_root
from storage.errors import FailedPreconditionError
from storage.snapshotters.ids import GIDS, UIDS
from transport.errors import RemoteError

RECORD = {
    "name": "web",
    "image": "busybox",
    "image_digest": "sha256:1",
    "snapshotter": "native",
    "snapshot_key": "k",
    "options": {"userns": "1000000:2000000:65536", "platform": "linux/arm64"},
    "task": None,
}


def _context(asked: list[Any], code: str = "not_found") -> Any:
    def call(body: Any) -> Any:
        asked.append(body)
        if isinstance(body, m.SnapshotsMounts):
            raise RemoteError(code, "snapshot k not found")
        return {"mounts": []}

    return SimpleNamespace(namespace="n", settings=SimpleNamespace(content=Path("/content")), call=call)


def test_they_are_those_that_its_start_would_have_made(monkeypatch: pytest.MonkeyPatch):
    found: list[Any] = []

    def image(*where: Any) -> Any:
        found.append(where)
        return SimpleNamespace(chain_id="sha256:chain")

    monkeypatch.setattr("actors.jobs.container.find_image", image)
    asked: list[Any] = []
    assert files_of(_context(asked), RECORD) == {"mounts": []}
    labels = {UIDS: "0:1000000:65536", GIDS: "0:2000000:65536"}
    assert asked[1:] == [m.SnapshotsPrepare("n", "k", "sha256:chain", labels, snapshotter="native")]
    assert found == [(Path("/content"), "sha256:1", "linux/arm64")]


@pytest.mark.parametrize("other", [{"image": ""}, {"options": {"foreign": {"runtime": "x"}}}])
def test_one_whose_root_is_not_ours_has_none(other: dict[str, Any]):
    asked: list[Any] = []
    with pytest.raises(FailedPreconditionError, match="container web has no files of ours"):
        files_of(_context(asked), {**RECORD, **other})
    assert len(asked) == 1


def test_what_else_is_wrong_is_told():
    with pytest.raises(RemoteError, match="snapshot k not found"):
        files_of(_context([], "unavailable"), RECORD)


@pytest.mark.root
def test_mounts_of_a_job_are_gone_when_it_is_done(tmp_path: Path):
    """With shifted owners there is more than one. What they show is not for the job to delete."""
    place, files = tmp_path / "place", tmp_path / "files"
    (files / "deep").mkdir(parents=True)
    one = {"type": "bind", "source": str(files), "options": ["bind"]}
    assert with_root(place, [one, one], lambda root: [path.name for path in root.iterdir()]) == ["deep"]
    assert list(place.iterdir()) == []
    assert list(files.iterdir()) == [files / "deep"]
