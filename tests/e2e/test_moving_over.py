"""`actr containerd import`: from the directory of a real containerd, running, stopped and damaged."""

import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
from archives import Containerd, of_layout
from daemon import Daemon, running

pytestmark = pytest.mark.root

NAME = "docker.io/library/moved:1"
TAGS = [f"docker.io/many/tags:{number:03}" for number in range(200)]
"""Enough for several pages of the database."""
BLOBS = "io.containerd.content.v1.content/blobs"


@pytest.fixture(scope="module")
def fresh(short_root: Path) -> Iterator[Daemon]:
    with running(Path(tempfile.mkdtemp(prefix="f-", dir=short_root))) as started:
        yield started


@pytest.fixture(scope="module")
def bare(short_root: Path) -> Iterator[Daemon]:
    """One to which no content comes: what it has already it would not read again."""
    with running(Path(tempfile.mkdtemp(prefix="b-", dir=short_root))) as started:
        yield started


@pytest.fixture(scope="module")
def failing(short_root: Path) -> Iterator[Daemon]:
    """One with failpoints."""
    with running(Path(tempfile.mkdtemp(prefix="k-", dir=short_root)), "--failpoints") as started:
        yield started


@pytest.fixture(scope="module")
def layout(short_root: Path) -> images.Layout:
    layout = images.Layout(short_root / "moving")
    layout.tag("1", layout.add_image([layout.add_layer(images.write_busybox)], {"Env": [images.PATH]}))
    return layout


@pytest.fixture(scope="module")
def left(short_root: Path, layout: images.Layout, fresh: Daemon) -> Path:
    """The root of a containerd that has ended."""
    archive = short_root / "moving.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(layout.directory, ".")
    theirs = Containerd(short_root / "peer-moving")
    with theirs.running() as started:
        for namespace in ("default", "other"):
            started.ctr("-n", namespace, "images", "import", "--base-name", NAME[:-2], archive)
        started.ctr("images", "label", NAME, "team=blue")
        started.ctr("-n", "other", "images", "tag", NAME, *TAGS, "no reference")
        refused = fresh.actr("containerd", "import", "-q", "--root", theirs.root, check=1)
        assert "containerd runs on this directory: stop it first" in refused.stderr
    return theirs.root


def test_an_image_comes_over_whole_and_runs(fresh: Daemon, left: Path, layout: images.Layout):
    taken = fresh.json("containerd", "import", "-q", "--root", left)
    target = of_layout(layout.directory, "1").manifest
    assert taken == {"images": [{"name": NAME, "digest": target, "unpacked": True}], "skipped": []}
    [record] = fresh.json("images")
    assert (record["name"], record["target"]["digest"], record["labels"]) == (NAME, target, {"team": "blue"})
    assert fresh.actr("run", "--rm", "moved:1", "echo", "here").stdout == "here\n"
    assert fresh.json("images", "check", "--deep", "moved:1")[0]["complete"]
    assert fresh.json("containerd", "import", "-q", "--root", left) == taken, "twice is as once"


def test_many_names_of_another_namespace_and_one_that_is_no_reference(fresh: Daemon, left: Path):
    came = fresh.actr("-n", "new", "containerd", "import", "-q", "--root", left, "--from", "other", check=1)
    assert sorted(came.stdout.split()) == sorted([NAME, *TAGS])
    assert came.stderr.startswith("actr: no reference was left out: ")
    assert {one["name"] for one in fresh.json("-n", "new", "images")} == {NAME, *TAGS}


def test_one_by_its_familiar_name(fresh: Daemon, left: Path):
    words = ("-n", "one", "containerd", "import", "-q", "--root", left, "--from", "other")
    assert fresh.actr(*words, "--no-unpack", "many/tags:007").stdout == "docker.io/many/tags:007\n"
    missing = fresh.actr(*words, "nothing:1", check=1).stderr
    assert "namespace 'other' has no image 'nothing:1'" in missing


def test_what_is_not_there_is_named(fresh: Daemon, left: Path, tmp: Path):
    elsewhere = fresh.actr("containerd", "import", "-q", "--root", tmp, check=1).stderr
    assert (
        "there is no io.containerd.metadata.v1.bolt/meta.db: is this the root of a containerd?" in elsewhere
    )
    assert "no such file" in fresh.actr("containerd", "import", "--root", tmp / "x", check=1).stderr.lower()
    empty = fresh.actr("-n", "k8s.io", "containerd", "import", "-q", "--root", left, check=1).stderr
    assert "namespace 'k8s.io' has no images; namespaces with some: default (1), other (202)" in empty


@pytest.mark.parametrize("damage", ["missing", "changed", "link", "longer"])
def test_an_image_whose_layer_is_not_what_its_digest_says_is_left_out(
    damage: str, bare: Daemon, left: Path, layout: images.Layout, tmp: Path
):
    root = tmp / "root"
    shutil.copytree(left, root, ignore=shutil.ignore_patterns("*snapshotter*"))
    [layer] = of_layout(layout.directory, "1").layers
    blob = root / BLOBS / layer.replace(":", "/")
    content = blob.read_bytes()
    blob.unlink()
    if damage == "link":
        blob.symlink_to("/etc/passwd")
    elif damage != "missing":
        blob.write_bytes(content + b"more" if damage == "longer" else bytes(len(content)))
    came = bare.actr("--format", "json", "containerd", "import", "-q", "--root", root, check=1)
    result = json.loads(came.stdout)
    assert result["images"] == []
    assert [one["name"] for one in result["skipped"]] == [NAME]
    assert layer.partition(":")[2] in result["skipped"][0]["reason"]
    assert bare.json("images") == []


@pytest.mark.parametrize(
    "step", ["store.chunk", "commit.before", "commit.after", "name.before", "name.after"]
)
def test_whoever_is_killed_at_a_step_does_it_in_the_end(step: str, failing: Daemon, left: Path):
    """The job comes back, finds what is durable, and takes the rest."""
    failing.actr("chaos", "set", f"job.{step}", "kill(count=1)")
    assert failing.actr("containerd", "import", "-q", "--root", left).stdout == f"{NAME}\n"
    assert (failing.state / "failpoints" / f"job.{step}").stat().st_size == 1, "it was killed, once"
    assert failing.json("images", "check", "--deep", NAME)[0]["complete"]
    assert failing.json("content", "ingests") == []
    failing.actr("rmi", NAME)
    failing.actr("system", "gc")
    assert failing.json("content", "ls") == []
