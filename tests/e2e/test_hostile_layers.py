"""Layers made to do harm, loaded by the daemon: its memory, its time, and whether it lives on.

That nothing outside changes is shown in tests/unit/layer/test_layer_hostile.py.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest

from tests.unit.layer.crafted import BLOCK, block
from tests.unit.layer.test_layer_hostile import looping, pax_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon import Daemon

pytestmark = pytest.mark.root
SECONDS = 30.0  # for what takes milliseconds; an endless loop takes longer
MOST_MEMORY = 200 << 20  # bytes; each of these would need gigabytes of a careless reader


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


def most_memory(daemon: Daemon) -> int:
    """The highest mark of any process of the daemon."""
    found = 0
    for pid in daemon.processes():
        try:
            text = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        marks = re.findall(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
        found = max([found, *(1024 * int(one) for one in marks)])
    return found


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
    for number, layer in enumerate(corpus):
        code, complaint, seconds = load(daemon, tmp / f"i{number}", layer, b"x")
        assert code != 0
        assert complaint.startswith("actr: "), complaint
        assert seconds < SECONDS
        figures.append(round(seconds, 2))
    record_property("seconds", figures)
    record_property("most memory", most_memory(daemon))
    assert most_memory(daemon) < MOST_MEMORY, figures
    assert daemon.actr("ps").returncode == 0
