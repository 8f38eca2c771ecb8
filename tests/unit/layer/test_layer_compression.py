"""Blobs by their magic: gzip, zstd, plain; damage, truncation, garbage and bombs."""

import gzip
import io
import os
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.layer.compression import open_blob
from storage.layer.limits import Limits
from storage.layer.zstd_frames import FrameWalk

TEXT = os.urandom(3000) + bytes(200_000) + os.urandom(300_000)


def streamed(data):
    """A zstd frame that does not tell its content size."""
    compressor = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    return compressor.compress(data) + compressor.flush()


SKIPPABLE = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
BLOBS = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "gzip, two members": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
    "gzip, empty members": gzip.compress(b"") * 50 + gzip.compress(TEXT) + gzip.compress(b"") * 50,
    "zstd": zstandard.compress(TEXT),
    "zstd, streamed": streamed(TEXT),
    "zstd, two frames": zstandard.compress(TEXT[:1000]) + streamed(TEXT[1000:]),
    "zstd, empty frames": zstandard.compress(b"") * 50 + streamed(TEXT) + zstandard.compress(b"") * 50,
    "zstd, skippable frames": SKIPPABLE + streamed(TEXT[:9]) + SKIPPABLE * 3 + streamed(TEXT[9:]) + SKIPPABLE,
}


class Dribble:
    """A source that gives a few bytes at a time, as a socket does."""

    def __init__(self, data, most):
        self.stream = io.BytesIO(data)
        self.most = most
        self.largest = 0

    def read(self, size):
        self.largest = max(self.largest, size)
        return self.stream.read(min(size, self.most))


def everything(blob, size=1 << 20):
    pieces = []
    while piece := blob.read(size):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("most", [1000, 1 << 20])
@pytest.mark.parametrize("name", BLOBS)
def test_content_whatever_the_compression(name, most):
    source = Dribble(BLOBS[name], most)
    blob = open_blob(source)
    assert blob.compression == {"plain": ""}.get(name, name.partition(",")[0])
    assert everything(blob) == TEXT
    assert blob.read(10) == b""


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_the_source_is_read_in_large_pieces(name):
    source = Dribble(BLOBS[name], 1 << 20)
    everything(open_blob(source))
    assert source.largest >= 256 << 10


@pytest.mark.parametrize("name", [name for name in BLOBS if name not in ("plain", "zstd, skippable frames")])
@pytest.mark.parametrize("cut", [1, 5, 97])
def test_cut_off(name, cut):
    with pytest.raises(InvalidArgumentError, match=r"cut off|damaged"):
        everything(open_blob(io.BytesIO(BLOBS[name][:-cut])))


@pytest.mark.parametrize("name", [name for name in BLOBS if name != "plain"])
@pytest.mark.parametrize("garbage", [b"x", b"garbage!", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"])
def test_garbage_behind_the_end(name, garbage):
    with pytest.raises(InvalidArgumentError):
        everything(open_blob(io.BytesIO(BLOBS[name] + garbage)))


@pytest.mark.parametrize("name", ["gzip", "zstd, streamed"])
def test_damage_is_found(name):
    for position in (len(BLOBS[name]) // 2, len(BLOBS[name]) - 3):
        bad = bytearray(BLOBS[name])
        bad[position] ^= 0x55
        with pytest.raises(InvalidArgumentError):
            everything(open_blob(io.BytesIO(bytes(bad))))


def gzip_bomb(size):
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(size >> 20)) + packer.flush()


@pytest.mark.parametrize(
    "bomb", [gzip_bomb(64 << 20), zstandard.compress(bytes(64 << 20))], ids=["gzip", "zstd"]
)
def test_a_bomb_stops_at_the_ratio(bomb):
    blob = open_blob(io.BytesIO(bomb), Limits(ratio=100, ratio_floor=4 << 20))
    sizes = []
    with pytest.raises(InvalidArgumentError, match="bomb"):
        sizes.extend(len(piece) for piece in iter(lambda: blob.read(1 << 20), b""))
    assert sum(sizes) <= max(4 << 20, 100 * len(bomb)) + (1 << 20)


def test_total_is_capped():
    with pytest.raises(InvalidArgumentError, match="more than 1000 bytes"):
        everything(open_blob(io.BytesIO(gzip.compress(bytes(2000))), Limits(total_bytes=1000)))


def test_a_zstd_window_beyond_the_limit_is_refused():
    settings = zstandard.ZstdCompressionParameters(window_log=27)
    data = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    blob = data.compress(os.urandom(1 << 20)) + data.flush()
    with pytest.raises(InvalidArgumentError, match="memory"):
        everything(open_blob(io.BytesIO(blob), Limits(window_bytes=8 << 20)))


def test_a_gzip_header_without_an_end_is_not_collected():
    source = Dribble(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (8 << 20), 1 << 20)
    with pytest.raises(InvalidArgumentError, match="damaged"):
        open_blob(source).read(1)
    assert source.stream.tell() <= 2 << 20


def test_an_empty_blob_is_empty():
    assert everything(open_blob(io.BytesIO(b""))) == b""


@given(st.binary(max_size=300), st.sampled_from([b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"]))
def test_noise_behind_a_magic(noise, magic):
    with pytest.raises(InvalidArgumentError):
        everything(open_blob(io.BytesIO(magic + b"\xff" + noise)))


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.integers(1, 50))
def test_frame_walk_is_complete_only_between_frames(parts, step):
    stream = b"".join(streamed(part) for part in parts)
    ends = set()
    position = 0
    for part in parts:
        ends.add(position)
        position += len(streamed(part))
    walk = FrameWalk()
    for start in range(0, len(stream), step):
        assert walk.complete == (start in ends)
        walk.feed(stream[start : start + step])
    assert walk.complete
