"""Random layers: overlay as the kernel merges it, native form, and a model of a few lines agree."""

import io
import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.linux.openat2 import open_in_root
from storage.errors import FailedPreconditionError, UnavailableError
from storage.layer.apply import apply_layer
from tests.unit.layer.crafted import Tar

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

# Directories are called a and b, files x and y, so that no file is ever asked to be a parent.
folders = st.lists(st.sampled_from("ab"), max_size=3).map("/".join)
inside = st.tuples(folders, st.sampled_from("xy")).map("/".join).map(lambda path: path.strip("/"))
operations = st.one_of(
    st.tuples(st.just("file"), inside, st.integers(0, 9)),
    st.tuples(st.just("dir"), folders.filter(bool), st.just(0)),
    st.tuples(st.just("whiteout"), st.one_of(inside, folders.filter(bool)), st.just(0)),
    st.tuples(st.just("opaque"), folders, st.just(0)),
)
layers = st.lists(st.lists(operations, max_size=8), min_size=1, max_size=4)


def archive(layer):
    tar = Tar()
    for what, path, content in layer:
        folder, _, name = path.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        if what == "file":
            tar.file(path, b"%d" % content)
        elif what == "dir":
            tar.dir(path)
        elif what == "whiteout":
            tar.file(f"{prefix}.wh.{name}")
        else:
            tar.file(f"{path}/.wh..wh..opq".lstrip("/"))
    return bytes(tar)


def parents(path):
    parts = path.split("/")[:-1]
    return list(itertools.accumulate(parts, "{}/{}".format))


def expected(stack):
    """Path -> content of a file, None of a directory. Removals concern what was there before the layer."""
    seen = {}
    for layer in stack:
        for what, path, _ in layer:
            if what == "whiteout":
                gone = [name for name in seen if name == path or name.startswith(path + "/")]
            elif what == "opaque":
                gone = [name for name in seen if not path or name.startswith(path + "/")]
            else:
                continue
            for name in gone:
                del seen[name]
        for what, path, content in layer:
            if what == "whiteout":
                continue
            seen.update(dict.fromkeys(parents(path)))
            if path:
                seen[path] = b"%d" % content if what == "file" else None
    return seen


def found(root):
    paths = sorted(path for path in root.rglob("*"))
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in paths}


def merged(folder, uppers):
    target, empty = folder / "merged", folder / "empty"
    target.mkdir()
    empty.mkdir()
    option = "lowerdir=" + ":".join(map(str, [*reversed(uppers), empty]))
    subprocess.run(["mount", "-t", "overlay", "-o", option, "overlay", str(target)], check=True)
    try:
        return found(target)
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_full_disk_is_told_and_room_makes_it_work(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=True)
    try:
        upper, ballast = tmp_path / "upper", tmp_path / "ballast"
        upper.mkdir()
        ballast.write_bytes(bytes(1 << 20))
        tar = bytes(Tar().file("small").file("big", bytes(3 << 19)))
        calls = {"open_in_root": open_in_root, "sync": lambda _: None}
        with pytest.raises(UnavailableError, match="'big': no space left"):
            apply_layer(io.BytesIO(tar), upper, **calls)
        with pytest.raises(FailedPreconditionError, match="not empty"):
            apply_layer(io.BytesIO(tar), upper, **calls)
        ballast.unlink()
        shutil.rmtree(upper)
        upper.mkdir()
        apply_layer(io.BytesIO(tar), upper, **calls)
        assert found(upper) == {"small": b"", "big": bytes(3 << 19)}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def ahead(tar, upper, below, calls):
    """Applied before those below are there; in these layers only directories stand where a parent should."""
    apply_layer(tar, upper, lambda: below, **calls)


@settings(max_examples=100)
@given(layers)
def test_overlay_native_and_model_agree(stack):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        native = folder / "native"
        native.mkdir()
        uppers = []
        for number, layer in enumerate(stack):
            upper = folder / f"upper{number}"
            upper.mkdir()
            calls = {"open_in_root": open_in_root, "sync": lambda _: None}
            ahead(io.BytesIO(archive(layer)), upper, uppers[::-1], calls)
            apply_layer(io.BytesIO(archive(layer)), native, overlay=False, **calls)
            uppers.append(upper)
        assert found(native) == expected(stack)
        assert merged(folder, uppers) == expected(stack)
