"""Archives out of and into Docker Engine and podman: what they name by digest is the same on either side."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import engine as engines
import images
import pytest
from daemon import Daemon, running
from test_round_trips import in_daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
BUILD = 'FROM busybox\nENV A=b\nCOPY file /file\nLABEL made=here\nCMD ["cat", "/file"]\n'


@pytest.fixture(scope="module")
def fresh(short_root: Path) -> Iterator[Daemon]:
    with running(Path(tempfile.mkdtemp(prefix="f-", dir=short_root))) as started:
        yield started


@pytest.fixture(scope="module")
def docker(short_root: Path) -> Iterator[Engine]:
    place = Path(tempfile.mkdtemp(prefix="e-", dir=short_root))
    with engines.on_containerd(place, engines.root_archive(place)) as (started, _):
        yield started


@pytest.fixture(scope="module")
def built(docker: Engine, short_root: Path) -> str:
    """An image with entries of history that have no layer: its id."""
    place = Path(tempfile.mkdtemp(prefix="b-", dir=short_root))
    (place / "file").write_text("2\n")
    (place / "Dockerfile").write_text(BUILD)
    return docker.ok("build", "--quiet", "--tag", "built:1", "--tag", "other:2", place).strip()


def described(engine: Engine, name: str) -> tuple[str, list[str]]:
    """Its id, which is the digest of its configuration, and the diff IDs of its layers."""
    [found] = json.loads(engine.ok("image", "inspect", name))
    return found["Id"], found["RootFS"]["Layers"]


def test_what_docker_saved_is_loaded_and_goes_back(docker: Engine, built: str, fresh: Daemon, tmp: Path):
    before = described(docker, "built:1")
    docker.ok("save", "--output", tmp / "saved.tar", "built:1", "other:2", "busybox")
    loaded = fresh.actr("load", "-q", "-i", tmp / "saved.tar").stdout.split()
    assert sorted(loaded) == [
        f"docker.io/library/{name}" for name in ("built:1", "busybox:latest", "other:2")
    ]
    for name in loaded:
        found = in_daemon(fresh, name)
        assert (found.config, list(found.diff_ids)) == described(docker, name)
    assert fresh.actr("run", "--rm", "built:1").stdout == "2\n"
    fresh.actr("save", "-q", "-o", tmp / "back.tar", "built:1", "other:2")
    docker.ok("image", "rm", "built:1", "other:2")
    said = docker.ok("load", "--input", tmp / "back.tar")
    assert {"built:1", "other:2"} == {line.partition(": ")[2] for line in said.splitlines()}
    assert described(docker, "built:1") == described(docker, "other:2") == before
    assert before[0] == built


def test_what_docker_saved_by_id_has_no_name(docker: Engine, built: str, fresh: Daemon, tmp: Path):
    docker.ok("save", "--output", tmp / "saved.tar", built)
    name = fresh.actr("load", "-q", "-i", tmp / "saved.tar", "--base-name", "example.org/n").stdout.strip()
    assert name.startswith("example.org/n@sha256:")
    assert in_daemon(fresh, name).config == built


def podman(tmp: Path, *words: str | Path) -> str:
    place = ["--root", tmp / "p", "--runroot", tmp / "r", "--storage-driver", "vfs"]
    done = subprocess.run(
        ["podman", *map(str, place), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout.strip()


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_podman_saved_is_loaded_and_goes_back(fresh: Daemon, tmp: Path, kind: str):
    layout, name = images.busybox(tmp / "busybox", "1"), f"example.org/by-podman/{kind}:1"
    fresh.actr("load", "-q", "-i", layout.directory, "--base-name", name.removesuffix(":1"))
    before = in_daemon(fresh, name)
    fresh.actr("save", "-q", "-o", tmp / "out.tar", name)
    podman(tmp, "load", "--input", tmp / "out.tar")
    identity = podman(tmp, "image", "inspect", "--format", "{{.Id}}", name)
    assert before.config == f"sha256:{identity}"
    podman(tmp, "save", "--format", kind, "--output", tmp / "back.tar", name)
    fresh.actr("rmi", name)
    assert fresh.actr("load", "-q", "-i", tmp / "back.tar").stdout.strip() == name
    after = in_daemon(fresh, name)
    assert (after.config, after.diff_ids) == (before.config, before.diff_ids)
