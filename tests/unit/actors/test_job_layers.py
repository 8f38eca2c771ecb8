"""What layers a job takes apart: those that the configuration lets a transfer unpack."""

from __future__ import annotations

import gzip
import hashlib
import io
from types import SimpleNamespace

import pytest

from actors.jobs.convert import _layer
from actors.settings import Settings
from actors.unpacking import layer_limits
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.media_types import OCI_LAYER_GZIP

ZEROS = bytes(257 << 20)  # beyond what is fine at any ratio
DIFF_ID = Digest("sha256", hashlib.sha256(ZEROS).hexdigest())
BLOB = gzip.compress(ZEROS, 6)
LAYER = Descriptor(OCI_LAYER_GZIP, Digest.of(BLOB), len(BLOB))


def _context(tmp_path, **settings):
    def keep(what, limit, media_type, produce):
        del what, limit
        produce(lambda _: None)
        return Descriptor(media_type, LAYER.digest, 1)

    return SimpleNamespace(
        store=SimpleNamespace(open=lambda *_, **__: io.BytesIO(BLOB)),
        limits=layer_limits(Settings(root=tmp_path, state=tmp_path, **settings)),
        keep_unknown=keep,
    )


def test_a_bomb_is_not_converted(tmp_path):
    with pytest.raises(InvalidArgumentError, match="bomb"):
        _layer(_context(tmp_path), LAYER, DIFF_ID, "zstd")


def test_a_layer_is_converted_at_the_ratio_at_which_it_is_pulled(tmp_path):
    assert _layer(_context(tmp_path, layers_ratio=1_000_000), LAYER, DIFF_ID, "zstd").size == 1
