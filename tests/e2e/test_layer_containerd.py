"""The crafted layers of the umoci oracle, unpacked by Debian's containerd too, and compared with ours.

What differs is listed in docs/layers.md, a row for each case; a difference that is not listed fails, and so
does a listed one that is gone. containerd keeps its layers as overlay directories as we do, so what is
compared is what the kernel shows of both.
"""

import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest
from layers_by_chance import Image
from test_layer_oracle import (
    CASES,
    NEW,
    REFUSED,
    by_ahead,
    by_native,
    by_overlay,
    differing,
    layout,
    outcome,
    without_time,
)

from bench.peers import Containerd
from tests.unit.layer.crafted import tree

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("containerd") is None, reason="containerd is not installed"),
]

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "layers.md"
ROW = re.compile(r"^\| (.+?) \| .+? \| .+? \| .+? \|$", re.MULTILINE)


@pytest.fixture(scope="module")
def containerd(short_root):
    with Containerd(short_root / "peer-layers") as started:
        yield started


def by_containerd(containerd, path, layers):
    """Import, unpack and mount; the tree that is seen."""
    layout(path / "image", layers)
    name = f"docker.io/oracle/{path.name.lower()}"
    index = path / "image" / "index.json"
    index.write_text(index.read_text().replace('"t"', f'"{name}:t"'))
    with tarfile.open(path / "image.tar", "w") as tar:
        tar.add(path / "image", ".")
    target = path / "mounted"
    target.mkdir()
    containerd.run("images", "import", "--no-unpack", str(path / "image.tar"))
    try:
        containerd.run("images", "mount", f"{name}:t", str(target))
    except RuntimeError:
        return REFUSED
    try:
        return tree(target)
    except FileNotFoundError as error:  # listed, and cannot be opened: a whiteout that shows
        return {str(Path(error.filename).relative_to(target)): None}
    finally:
        containerd.run("images", "unmount", str(target))


def listed():
    """The cases of the table in docs/layers.md that differ from containerd."""
    text = DOCUMENT.read_text()
    section = text.partition("## Beside containerd")[2].partition("\n## ")[0]
    return set(ROW.findall(section)) - {"case", "---"}


@pytest.mark.parametrize("name", CASES)
def test_as_containerd_or_listed(tmp_path, containerd, name):
    layers = [bytes(layer) for layer in CASES[name].layers]
    ours, theirs = tmp_path / "ours", tmp_path / name.replace(" ", "-").replace(",", "").replace(":", "")
    ours.mkdir()
    theirs.mkdir()
    found = differing(outcome(by_overlay, ours, layers), by_containerd(containerd, theirs, layers))
    found = {path: both for path, both in found.items() if not only_its_own_time(*both)}
    assert bool(found) == (name in listed()), json.dumps(found, default=str)


@pytest.mark.parametrize("seed", range(24))
def test_what_builders_make_is_the_same_tree_in_containerd(tmp_path, containerd, seed):
    layers = Image(seed).layers
    for name in ("overlay", "ahead", "native", f"chance{seed}"):
        (tmp_path / name).mkdir()
    ours = by_overlay(tmp_path / "overlay", layers)
    theirs = by_containerd(containerd, tmp_path / f"chance{seed}", layers)
    found = differing(ours, theirs).items()
    assert {path: both for path, both in found if not only_its_own_time(*both)} == {}
    assert differing(ours, by_ahead(tmp_path / "ahead", layers)) == {}
    assert differing(ours, by_native(tmp_path / "native", layers)) == {}


def only_its_own_time(ours, theirs):
    """containerd leaves the time of its own work on directories that no layer lists, as umoci does."""
    if REFUSED in (ours, theirs) or None in (ours, theirs) or ours[0][0] != "d" or theirs[3] <= NEW * 10**9:
        return False
    return without_time(ours) == without_time(theirs)


def test_no_case_is_listed_that_does_not_exist():
    assert listed() <= CASES.keys()
    assert len(CASES) >= 40
