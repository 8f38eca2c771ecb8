"""What is announced as durable has its name on the disk, and the names of the directories above it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.content import ContentStore
from storage.metadata import Metadata
from storage.snapshotters import OverlaySnapshotter
from storage.volumes import Volumes


@pytest.fixture
def synced(monkeypatch):
    """Paths in the order in which they were made durable."""
    found: list[Path] = []
    real = os.fsync

    def fsync(descriptor):
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


STORES = {
    "metadata": lambda root: Metadata(root / "metadata.db").close(),
    "content": lambda root: ContentStore(root / "content"),
    "snapshots": lambda root: OverlaySnapshotter(root / "snapshots", sync=lambda _: None).close(),
    "volumes": lambda root: Volumes(root / "volumes").create("ns", "v", {}),
}
NAMED_IN = {
    "metadata": ("..", "."),
    "content": (".", "content", "content/blobs"),
    "snapshots": (".", "snapshots"),
    "volumes": (".", "volumes", "volumes/ns", "volumes/ns/v"),
}


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_was_made_is_there_after_a_loss_of_power(tmp_path, synced, name):
    root = tmp_path / "root"
    root.mkdir()
    STORES[name](root)
    assert {(root / one).resolve() for one in NAMED_IN[name]} <= set(synced)


@pytest.mark.parametrize("name", [name for name in STORES if name != "volumes"])
def test_also_one_whose_maker_was_killed_before_that(tmp_path, synced, name):
    root = tmp_path / "root"
    root.mkdir()
    STORES[name](root)
    synced.clear()
    STORES[name](root)
    assert {(root / one).resolve() for one in NAMED_IN[name]} <= set(synced)
