"""Unpacking alone: an image whose blobs are in the store already, mounted for the first time.

`ctr images mount` and `actr images mount` unpack what is not unpacked and mount a view of it.
"""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.disk import new_filesystem
from bench.pairs import Comparison, in_turn, timed
from bench.peers import Actord, Containerd, Daemon
from tests.e2e import images
from tests.e2e.watching import MostMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE: Final = 1 << 30  # bytes of the large layer
BLOCK: Final = 1 << 20  # bytes of noise that it repeats: no compressor looks back so far, and no cap is met
FILES: Final = 20_000  # in the layer of small files


def measure(directory: Path, pairs: int) -> Iterator[Comparison]:
    """The Debian layer, the same in ten, and what actord makes of extreme ones."""
    layout = images.debian()
    for tag in ("1", "10"):
        archive = _archive(layout, tag, directory)
        cases = {
            "ctr images mount": lambda path=archive: _once(directory, Containerd, _by_containerd, path),
            "actr images mount": lambda path=archive: _once(directory, Actord, _by_actord, path),
        }
        yield Comparison(f"unpack, {tag} layer(s)", "s", in_turn(cases, pairs))
        archive.unlink()
    yield from _extremes(directory)


class _Repeated:
    """A file of one block, over and over."""

    def __init__(self, block: bytes) -> None:
        self._block = block
        self._at = 0

    def read(self, size: int) -> bytes:
        """`size` bytes, or to the end of the block."""
        start = self._at % len(self._block)
        piece = self._block[start : start + size]
        self._at += len(piece)
        return piece


def _archive(layout: images.Layout, tag: str, directory: Path) -> Path:
    """One image as an OCI archive."""
    path = directory / f"{tag}.tar"
    source = f"oci:{layout.directory}:{tag}"
    command = ["skopeo", "--insecure-policy", "copy", "--quiet", source, f"oci-archive:{path}:bench:{tag}"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def _once(
    directory: Path, daemon: type[Daemon], unpack: Callable[[Any, Path, Path], float], archive: Path
) -> float:
    target = directory / "mounted"
    target.mkdir(exist_ok=True)
    with new_filesystem(directory / "unpack") as empty, daemon(empty / "daemon") as running:
        return unpack(running, archive, target)


def _by_containerd(peer: Containerd, archive: Path, target: Path) -> float:
    peer.run("images", "import", "--no-unpack", "--base-name", "bench", str(archive))
    (name,) = peer.run("images", "ls", "--quiet").split()
    os.sync()  # the writing back of the import is not part of it
    seconds = timed(peer.client("images", "mount", name, str(target)))
    peer.run("images", "unmount", str(target))
    return seconds


def _by_actord(actord: Actord, archive: Path, target: Path) -> float:
    name = actord.run("load", "--no-unpack", "--base-name", "bench", "-i", str(archive)).split()[-1]
    os.sync()
    seconds = timed(actord.client("images", "mount", name, str(target)))
    actord.run("images", "umount", str(target))
    return seconds


def _extremes(directory: Path) -> list[Comparison]:
    """Bytes and files per second, and the most memory, of a layer of 1 GiB and one of many small files."""
    layout = images.Layout(directory / "extremes")

    def large(tar: Any) -> None:
        tar.addfile(images.file_entry("noise", LARGE), _Repeated(os.urandom(BLOCK)))

    def small(tar: Any) -> None:
        for number in range(FILES):
            images.add_file(tar, f"{number % 100}/{number}", b"x" * 1000)

    samples: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for tag, write, amount in (("1 GiB: MiB/s", large, LARGE >> 20), ("20,000 files: files/s", small, FILES)):
        name = tag.split(":", maxsplit=1)[0].replace(" ", "").replace(",", "")
        layout.tag(name, layout.add_image([layout.add_layer(write)], {}))
        archive = _archive(layout, name, directory)
        peak: list[float] = []
        seconds = _once(directory, Actord, partial(_watched, peak), archive)
        samples[tag] = [amount / seconds]
        memory[tag.split(":", maxsplit=1)[0]] = peak
        archive.unlink()
    return [
        Comparison("apply throughput", "per s", samples),
        Comparison("most memory of a process (VmHWM)", "MiB", memory),
    ]


def _watched(peak: list[float], actord: Actord, archive: Path, target: Path) -> float:
    with MostMemory(actord.processes()[0]) as most:
        seconds = _by_actord(actord, archive, target)
    peak.append(float(most.bytes))
    return seconds
