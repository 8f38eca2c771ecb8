"""Uppers to apply layers to."""

import pytest

from tests.unit.layer.applied import Snapshots, apply_to


@pytest.fixture
def snapshots(tmp_path):
    return Snapshots(tmp_path)


@pytest.fixture
def native(tmp_path):
    """Applies layers one over the other in native form; its `root` is the target."""

    class Native:
        root = tmp_path / "native"

        def apply(self, tar, **options):
            self.root.mkdir(exist_ok=True)
            return apply_to(self.root, tar, overlay=False, **options)

    return Native()
