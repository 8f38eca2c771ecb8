"""Real images out and in again, between actord, skopeo, umoci and containerd: the same digests everywhere."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
import zstandard
from archives import Containerd, Digests, digests, of_archive, of_layout, skopeo, umoci
from daemon import CHECKOUT, Daemon, running

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def containerd(short_root: Path) -> Iterator[Containerd]:
    with Containerd(short_root / "peer-archives").running() as started:
        yield started


@pytest.fixture(scope="module")
def fresh(short_root: Path) -> Iterator[Daemon]:
    """A daemon without images."""
    with running(Path(tempfile.mkdtemp(prefix="f-", dir=short_root))) as started:
        yield started


@pytest.fixture(scope="module")
def source(short_root: Path) -> images.Layout:
    """An image of three layers, the second of which takes away from the first: tag "1"."""
    layout = images.Layout(short_root / "source")

    def second(tar):
        images.add_file(tar, "etc/.wh.shadow", b"")
        images.add_file(tar, "second", b"2\n")

    def third(tar):
        images.add_file(tar, "third", b"3\n" * 100_000)

    stored = [layout.add_layer(write) for write in (images.write_busybox, second, third)]
    layout.tag("1", layout.add_image(stored, {"Cmd": ["cat", "/second"], "Env": [images.PATH]}))
    return layout


@pytest.fixture(scope="module")
def expected(source: images.Layout) -> Digests:
    return of_layout(source.directory, "1")


def in_daemon(daemon: Daemon, name: str) -> Digests:
    [found] = [one for one in daemon.json("images") if one["name"] == name]
    digest = found["target"]["digest"]

    def read(one: str) -> bytes:
        return (daemon.root / "content" / "blobs" / one.replace(":", "/")).read_bytes()

    return digests(digest, json.loads(read(digest)), read)


def load(daemon: Daemon, path: Path, *words: str) -> str:
    """The name of the one image in an archive, which runs."""
    [name] = daemon.actr("load", "-q", "-i", path, *words).stdout.split()
    assert daemon.actr("run", "--rm", name).stdout == "2\n"
    return name


@pytest.fixture(scope="module")
def loaded(fresh: Daemon, source: images.Layout, expected: Digests) -> str:
    """The image, from the layout that skopeo could have written."""
    name = load(fresh, source.directory, "--base-name", "docker.io/library/round")
    assert name == "docker.io/library/round:1"
    assert in_daemon(fresh, name) == expected
    return name


def test_what_is_saved_is_read_by_skopeo_umoci_and_containerd(
    fresh: Daemon, loaded: str, expected: Digests, containerd: Containerd, tmp: Path
):
    saved = tmp / "saved.tar"
    assert fresh.actr("save", "-q", "-o", saved, "round:1").stdout == f"{loaded}\n"
    assert of_archive(saved, "1", tmp / "seen") == expected
    skopeo("copy", "--quiet", f"oci-archive:{saved}:1", f"oci:{tmp}/layout:1")
    assert of_layout(tmp / "layout", "1") == expected
    umoci("unpack", "--image", f"{tmp}/layout:1", tmp / "bundle")
    assert (tmp / "bundle/rootfs/second").read_text() == "2\n"
    assert not (tmp / "bundle/rootfs/etc/shadow").exists()
    containerd.ctr("images", "import", saved)
    assert containerd.digests(loaded) == expected
    skopeo("copy", "--quiet", f"docker-archive:{saved}", f"oci:{tmp}/docker:1")  # by manifest.json
    assert of_layout(tmp / "docker", "1").diff_ids == expected.diff_ids


def test_a_saved_directory_is_a_layout_for_umoci(fresh: Daemon, loaded: str, expected: Digests, tmp: Path):
    fresh.actr("save", "-q", "-d", tmp / "layout", loaded)
    assert of_layout(tmp / "layout", "1") == expected
    umoci("unpack", "--image", f"{tmp}/layout:1", tmp / "bundle")
    assert (tmp / "bundle/rootfs/second").read_text() == "2\n"
    refused = fresh.actr("save", "-q", "-d", tmp / "layout", loaded, check=1)
    assert "not empty" in refused.stderr


def test_the_same_image_is_the_same_archive(fresh: Daemon, loaded: str, tmp: Path):
    for name in ("a", "b"):
        fresh.actr("save", "-q", "-o", tmp / name, loaded)
    assert (tmp / "a").read_bytes() == (tmp / "b").read_bytes()


@pytest.mark.parametrize("kind", ["oci-archive", "oci"])
def test_what_skopeo_wrote_is_loaded(
    kind: str, fresh: Daemon, source: images.Layout, expected: Digests, tmp: Path
):
    target = tmp / "written"
    skopeo("copy", "--quiet", f"oci:{source.directory}:1", f"{kind}:{target}:example.org/by/{kind}:1")
    name = load(fresh, target)
    assert name == f"example.org/by/{kind}:1"
    assert in_daemon(fresh, name) == expected


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd", "pipe"])
def test_what_skopeo_wrote_for_docker_is_loaded(
    packing: str, fresh: Daemon, source: images.Layout, expected: Digests, tmp: Path
):
    target, name = tmp / "docker.tar", f"example.org/docker/{packing}:1"
    skopeo("copy", "--quiet", f"oci:{source.directory}:1", f"docker-archive:{target}:{name}")
    if packing == "gzip":
        target.write_bytes(gzip.compress(target.read_bytes(), 1))
    elif packing == "zstd":
        target.write_bytes(zstandard.compress(target.read_bytes()))
    if packing == "pipe":
        script = 'cat "$1" | "$2" --address "$3" load -q'
        words = ["sh", "-c", script, "sh", target, CHECKOUT / "bin/actr", fresh.state]
        assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == f"{name}\n"
    else:
        assert load(fresh, target) == name
    found = in_daemon(fresh, name)
    assert (found.config, found.diff_ids) == (expected.config, expected.diff_ids)


def test_what_umoci_wrote_is_loaded(fresh: Daemon, source: images.Layout, tmp: Path):
    layout = tmp / "layout"
    shutil.copytree(source.directory, layout)
    umoci("config", "--image", f"{layout}:1", "--tag", "2", "--config.label", "made.by=umoci")
    umoci("rm", "--image", f"{layout}:1")
    name = load(fresh, layout, "--base-name", "example.org/umoci")
    assert name == "example.org/umoci:2"
    assert in_daemon(fresh, name) == of_layout(layout, "2")


def test_what_containerd_exported_is_loaded(
    fresh: Daemon, loaded: str, expected: Digests, containerd: Containerd, tmp: Path
):
    fresh.actr("save", "-q", "-o", tmp / "saved", loaded)
    containerd.ctr("images", "import", tmp / "saved")
    containerd.ctr("images", "tag", "--force", loaded, "example.org/by/containerd:1")
    containerd.ctr("images", "export", tmp / "exported", "example.org/by/containerd:1")
    name = load(fresh, tmp / "exported")
    assert name == "example.org/by/containerd:1"
    assert in_daemon(fresh, name) == expected
