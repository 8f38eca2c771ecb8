"""Layers made to do harm, loaded by the daemon: its memory, its time, and whether it lives on.

That nothing outside changes is shown in tests/unit/layer/test_layer_hostile.py.
"""

from __future__ import annotations

import gzip
import hashlib
import time
from typing import TYPE_CHECKING

import images
import pytest
from watching import MostMemory

from tests.unit.layer.crafted import BLOCK, block
from tests.unit.layer.test_layer_hostile import looping, pax_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon import Daemon

pytestmark = pytest.mark.root
SECONDS = 30.0  # for what takes milliseconds; an endless loop takes longer
MOST_MEMORY = 100 << 20  # bytes; each of these would need gigabytes of a careless reader


def layout(directory: Path, layer: bytes, diff_id: str) -> None:
    """An image of one layer, which may be no tar at all."""
    made = images.Layout(directory)
    descriptor = made.add_blob(layer, images.LAYER)
    made.tag("hostile/image:t", made.add_image([(descriptor, diff_id)], {}))


def load(daemon: Daemon, directory: Path, layer: bytes, plain: bytes | None = None) -> tuple[int, str, float]:
    """Load an image of that layer; exit code, complaint, and seconds."""
    diff_id = "sha256:" + hashlib.sha256(layer if plain is None else plain).hexdigest()
    layout(directory, layer, diff_id)
    began = time.monotonic()
    done = daemon.actr("load", "-i", directory, check=None, seconds=120)
    complaint = done.stderr.splitlines()[-1]  # behind the progress
    return done.returncode, complaint, time.monotonic() - began


def zeros(size: int) -> bytes:
    """A tar of one file of that many zeros, compressed in pieces; a thousandth of its size."""
    head = block(b"zeros", size=size)
    return gzip.compress(head + bytes(size) + bytes(2 * BLOCK), 9)


def test_bombs_and_loops_end_soon_and_in_little_memory(
    daemon: Daemon, tmp: Path, record_property: Callable[[str, object], None]
):
    """The inputs that harmed Python's own tarfile among them, a bomb of 300 MB, and one within a bomb."""
    corpus = [bytes(one) for one in looping()]
    corpus += [bytes(pax_header(b"1" * 80_000)), zeros(300 << 20), gzip.compress(zeros(300 << 20))]
    figures = []
    assert daemon.process is not None
    with MostMemory(daemon.process.pid) as most:
        for number, layer in enumerate(corpus):
            code, complaint, seconds = load(daemon, tmp / f"i{number}", layer, b"x")
            assert code != 0
            assert complaint.startswith("actr: "), complaint
            assert seconds < SECONDS
            figures.append(round(seconds, 2))
    print(f"{most.bytes >> 20} MiB, seconds of each: {figures}")  # noqa: T201  # with -s: the figures
    record_property("seconds", figures)
    record_property("most memory", most.bytes)
    assert most.bytes < MOST_MEMORY, figures
    assert daemon.actr("ps").returncode == 0
