"""What is refused before anything of it is fetched or unpacked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.settings import Settings
from actors.unpacking import MOST_LAYERS, Unpacker
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.manifest import Manifest
from storage.image.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

CONFIG = Descriptor(OCI_CONFIG, Digest.of(b""), 0)


def _image(count, size=1024):
    return Manifest(OCI_MANIFEST, CONFIG, (Descriptor(OCI_LAYER, Digest.of(b"x"), size),) * count)


@pytest.fixture
def unpacker(tmp_path):
    """One that nobody is told of."""
    settings = Settings(root=tmp_path, state=tmp_path, layers_total_bytes=1 << 20)
    actor = SimpleNamespace(settings=settings)
    return lambda snapshotter="": Unpacker(actor, "default", SimpleNamespace(), snapshotter=snapshotter)


def test_more_layers_than_one_mount_takes(unpacker):
    unpacker().check(_image(MOST_LAYERS))
    with pytest.raises(InvalidArgumentError, match="501 layers"):
        unpacker().check(_image(MOST_LAYERS + 1))
    with pytest.raises(InvalidArgumentError, match="501 layers"):
        unpacker().hold(_image(MOST_LAYERS + 1), (Digest.of(b"x"),) * (MOST_LAYERS + 1))
    unpacker("native").check(_image(MOST_LAYERS + 1))


def test_a_layer_that_is_larger_than_any_may_become(unpacker):
    unpacker().check(_image(1, 1 << 20))
    with pytest.raises(InvalidArgumentError, match="above the limit"):
        unpacker().check(_image(1, (1 << 20) + 1))
