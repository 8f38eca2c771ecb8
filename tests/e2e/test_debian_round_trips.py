"""A real Debian in 1, 10 and 100 layers, out and in again through everybody's tools.

Takes minutes: run it with -m slow. Its short version is test_round_trips.py.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import images
import pytest
from archives import Containerd, Digests, digests, of_archive, of_layout, skopeo, umoci
from daemon import Daemon, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from registry import Registry

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(1200)]
COUNTS = (1, 10, 100)


@pytest.fixture(scope="module")
def containerd(short_root: Path) -> Iterator[Containerd]:
    with Containerd(short_root / "peer-debian").running() as started:
        yield started


@pytest.fixture(scope="module")
def first(short_root: Path) -> Iterator[Daemon]:
    with running(Path(tempfile.mkdtemp(prefix="d-", dir=short_root))) as started:
        yield started


@pytest.fixture(scope="module")
def second(short_root: Path) -> Iterator[Daemon]:
    with running(Path(tempfile.mkdtemp(prefix="e-", dir=short_root))) as started:
        yield started


def in_daemon(daemon: Daemon, name: str) -> Digests:
    [found] = [one for one in daemon.json("images") if one["name"] == name]

    def read(one: str) -> bytes:
        return (daemon.root / "content/blobs" / one.replace(":", "/")).read_bytes()

    digest = found["target"]["digest"]
    return digests(digest, json.loads(read(digest)), read)


@pytest.mark.parametrize("count", COUNTS)
def test_a_debian_of_many_layers(
    count: int, registry: Registry, first: Daemon, second: Daemon, containerd: Containerd, tmp: Path
):
    began = time.monotonic()

    def step(what: str) -> None:
        nonlocal began
        print(f"{count} layers: {what} {time.monotonic() - began:.1f} s")  # noqa: T201  # figures for a report
        began = time.monotonic()

    layout = images.Layout(tmp / "layout")
    images.debian_in(layout, count, tmp / "work")
    name = f"{registry.host}/debian:{count}"
    images.push(layout, str(count), name)
    step("made and pushed")
    first.actr("pull", "-q", name, seconds=300)
    step("pull and unpack")
    assert in_daemon(first, name) == of_layout(layout.directory, str(count))
    change = "echo committed > /committed; rm /etc/debian_version; rm -r /usr/share/doc/bash"
    assert (
        "Debian"
        in first.actr(
            "run", "--name", f"c{count}", name, "bash", "-c", f"cat /etc/os-release; {change}"
        ).stdout
    )
    step("run")
    made = f"example.org/committed:{count}"
    first.actr("commit", "-q", f"c{count}", made, seconds=300)
    step("commit")
    expected = in_daemon(first, made)
    assert len(expected.layers) == count + 1
    saved = tmp / "saved.tar"
    first.actr("save", "-q", "-o", saved, made, seconds=300)
    step("save")
    assert of_archive(saved, str(count), tmp / "seen") == expected
    second.actr("load", "-q", "-i", saved, seconds=300)
    step("load and unpack by another actord")
    assert in_daemon(second, made) == expected
    gone = "test ! -e /etc/debian_version && test ! -e /usr/share/doc/bash"
    script = f"cat /committed; {gone} && dpkg -l bash | tail -n1"
    assert second.actr("run", "--rm", made, "bash", "-c", script).stdout.startswith("committed\nii  bash")
    skopeo("copy", "--quiet", f"oci-archive:{saved}:{count}", f"oci:{tmp}/skopeo:{count}")
    assert of_layout(tmp / "skopeo", str(count)) == expected
    step("skopeo oci-archive to oci")
    umoci("unpack", "--image", f"{tmp}/skopeo:{count}", tmp / "bundle")
    root = tmp / "bundle/rootfs"
    assert (root / "committed").read_text() == "committed\n"
    assert not (root / "etc/debian_version").exists()
    step("umoci unpack")
    containerd.ctr("images", "import", saved)
    assert containerd.digests(made) == expected
    step("ctr images import")
    containerd.ctr("images", "export", tmp / "ctr.tar", made)
    skopeo(
        "copy",
        "--quiet",
        f"oci:{tmp}/skopeo:{count}",
        f"oci-archive:{tmp}/skopeo.tar:example.org/skopeo:{count}",
    )
    skopeo(
        "copy",
        "--quiet",
        f"oci:{tmp}/skopeo:{count}",
        f"docker-archive:{tmp}/docker.tar:example.org/docker:{count}",
    )
    second.actr("rmi", made)
    second.actr("load", "-q", "-i", tmp / "ctr.tar", seconds=300)
    assert in_daemon(second, made) == expected
    second.actr("load", "-q", "-i", tmp / "skopeo.tar", seconds=300)
    assert in_daemon(second, f"example.org/skopeo:{count}") == expected
    second.actr("load", "-q", "-i", tmp / "skopeo", "--base-name", "example.org/layout", seconds=300)
    assert in_daemon(second, f"example.org/layout:{count}") == expected
    second.actr("load", "-q", "-i", tmp / "docker.tar", seconds=300)
    docker = in_daemon(second, f"example.org/docker:{count}")
    assert (docker.config, docker.diff_ids) == (expected.config, expected.diff_ids)
    step("what ctr, skopeo (twice) and a layout gave, loaded")
    first.actr("rm", "-f", f"c{count}")
