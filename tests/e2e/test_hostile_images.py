"""The attacks of tests/unit/layer/test_layer_hostile.py by every way that leads into a real daemon.

Each is an image of one layer that is pulled or imported, and one that has this layer twice and is loaded;
what is not refused is mounted. What it is aimed at lies outside and must not change in any way; the daemon
lives on, in little memory and time.
"""

from __future__ import annotations

import hashlib
import time
from functools import partial
from typing import TYPE_CHECKING

import images
import pytest
from watching import MostMemory

from tests.unit.layer.crafted import tree
from tests.unit.layer.test_layer_hostile import attacks

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable
    from pathlib import Path

    from daemon import Daemon
    from registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
MOST_MEMORY = 100 << 20  # bytes
SECONDS = 30.0  # for what takes a tenth of one


@pytest.fixture
def outside(tmp: Path) -> Path:
    """What all of them are aimed at."""
    folder = tmp / "outside"
    (folder / "folder").mkdir(parents=True)
    (folder / "canary").write_text("alive")
    return folder


class Attack:
    """One image on its way in."""

    def __init__(self, daemon: Daemon, registry: Registry, directory: Path, tar: bytes, layers: int) -> None:
        self.daemon, self.registry, self.directory, self.tar = daemon, registry, directory, tar
        self.layout = images.Layout(directory)
        blob = self.layout.add_blob(tar, images.LAYER.removesuffix("+gzip"))
        layer = (blob, "sha256:" + hashlib.sha256(tar).hexdigest())
        self.layout.tag("t", self.layout.add_image([layer] * layers, {}))

    def pull(self) -> str:
        name = f"{self.registry.host}/hostile/{hashlib.sha256(self.tar).hexdigest()[:12]}:t"
        images.push(self.layout, "t", name)
        return self._complaint(name, "pull", "-q", name)

    def load(self) -> str:
        return self._complaint(
            "hostile/loaded:t", "load", "-q", "--base-name", "hostile/loaded", "-i", self.directory
        )

    def import_root(self) -> str:
        (self.directory / "tar").write_bytes(self.tar)
        return self._complaint(
            "hostile/imported:t", "import", "-q", self.directory / "tar", "hostile/imported:t"
        )

    def _complaint(self, name: str, *words: str | Path) -> str:
        """Why it does not come; of one that has come it is mounted, looked at, and unmounted."""
        done = self.daemon.actr(*words, check=None)
        if done.returncode == 0:
            place = self.directory / "mounted"
            place.mkdir()
            self.daemon.actr("images", "mount", "-q", name, place)
            assert list(place.iterdir())
            self.daemon.actr("images", "umount", place)
            return ""
        assert done.stderr.startswith("actr: ")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr.strip()


WAYS = {"pull": (Attack.pull, 1), "load": (Attack.load, 2), "import": (Attack.import_root, 1)}  # layers


@pytest.mark.parametrize("way", WAYS)
def test_nothing_outside_changes(
    daemon: Daemon,
    registry: Registry,
    tmp: Path,
    outside: Path,
    way: str,
    record_property: Callable[[str, object], None],
):
    bring, layers = WAYS[way]
    before, refused, longest = tree(outside), [], 0.0
    pids = {name: one["pid"] for name, one in daemon.actors().items() if "/" not in name}
    assert daemon.process is not None
    with MostMemory(daemon.process.pid) as most:
        for name, tar in attacks(str(outside)).items():
            attack = Attack(daemon, registry, tmp / name.replace("/", ""), bytes(tar), layers)
            began = time.monotonic()
            refused += [f"{name}: {reason}" for reason in [bring(attack)] if reason]
            longest = max(longest, time.monotonic() - began)
            assert tree(outside) == before, name
    print(f"{way}: {most.bytes >> 20} MiB and {longest:.2f} s at most; refused: {refused}")  # noqa: T201  # with -s
    record_property("most memory", most.bytes)
    assert most.bytes < MOST_MEMORY
    assert longest < SECONDS
    actors = daemon.actors()
    assert {name: actors[name]["pid"] for name in pids} == pids


ROOTS = {
    "dev": (("dev",), ()),
    "proc": (("proc",), ()),
    "sys": (("sys",), ()),
    "a parent of a target": (("data",), ("--mount", "type=tmpfs,destination=/data/inner/deep")),
}


@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize("case", ROOTS)
def test_a_root_that_leads_a_runtime_outside_is_refused(
    daemon: Daemon, tmp: Path, outside: Path, case: str, runtime: str
):
    """Both runtimes would follow the link to the host; they never see it."""
    (links, options), before = ROOTS[case], tree(outside)
    layout = images.Layout(tmp / "image")
    layers = [layout.add_layer(images.write_busybox), layout.add_layer(partial(_replaced, links, outside))]
    layout.tag("t", layout.add_image(layers, {"Cmd": ["true"]}))
    daemon.actr("load", "-q", "--base-name", "hostile/root", "-i", layout.directory)
    done = daemon.actr("run", "--rm", "--runtime", runtime, *options, "hostile/root:t", check=125)
    assert f"/{links[0]} of the root file system is a link or file" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tree(outside) == before
    assert daemon.json("ps", "-a") == []


def _replaced(links: tuple[str, ...], outside: Path, tar: tarfile.TarFile) -> None:
    for name in links:
        if name != "data":
            images.add_file(tar, f".wh.{name}", b"")
        tar.addfile(images.symlink_entry(name, str(outside)))
