"""Crafted layers unpacked by umoci and by us, compared file by file.

Ours three times: as overlay directories that the kernel merges, as these made ahead of those below them,
and in native form. Every difference from umoci is
listed here with its reason; a difference that is not listed fails, and so does a listed one that is gone.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field

import pytest

from actors.linux.openat2 import open_in_root
from actors.linux.syncfs import syncfs
from storage.errors import StorageError
from storage.layer.apply import apply_layer
from storage.layer.diff import write_layer
from storage.layer.tree import WrongAssumptionError
from tests.unit.layer.crafted import Tar, tree

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("umoci") is None, reason="umoci is not installed"),
]

OLD = 1_000_000_000
NEW = 1_200_000_000
REFUSED = "refused"


@dataclass
class Case:
    """Layers from the lowest up. `differences`: path -> reason; "*" when the outcome as a whole differs."""

    layers: list
    differences: dict = field(default_factory=dict)


def base():
    return (
        Tar()
        .dir("./", mtime=OLD)
        .dir("d", mode=0o750, uid=5, gid=6, mtime=OLD, xattrs={"user.a": b"1"})
        .file("d/old", b"old", mtime=OLD)
        .dir("d/sub", mode=0o711, mtime=OLD)
        .file("d/sub/deep", b"deep", mtime=OLD)
        .file("x", b"lower x", mode=0o600, uid=7, gid=8, mtime=OLD, xattrs={"user.x": b"kept"})
        .dir("usr", mtime=OLD)
        .dir("usr/lib", mtime=OLD)
        .file("usr/lib/libc", b"c", mtime=OLD)
        .symlink("lib", "usr/lib", mtime=OLD)
        .symlink("abs", "/usr/lib", mtime=OLD)
        .symlink("up", "../../../../../usr", mtime=OLD)
    )


TIME = (
    "only the time: umoci leaves that of its own work on directories that no layer lists and on parents of "
    "those; ours is the one that a layer names, or 1970, so that the same image is the same tree everywhere"
)
OWN_BOOKS = "umoci strips trusted.overlay.* only; a mount with userxattr would obey user.overlay.* too"
ESCAPED = "GNU tar writes = in such a name as %3D, since a record has no other place for it; ours reads it so"
CONTIGUOUS = "POSIX: whoever has no contiguous files takes one for a regular file; umoci refuses the layer"
NO_CONTENT = "umoci makes the device 0:0, which overlayfs takes for a whiteout; ours refuses the layer"

CASES = {
    "base": Case([base()]),
    "whiteout of a file": Case([base(), Tar().file(".wh.x")]),
    "whiteout of a directory": Case([base(), Tar().file(".wh.d")]),
    "whiteout below": Case([base(), Tar().file("d/.wh.old")]),
    "whiteout of nothing": Case([base(), Tar().file(".wh.nothing").file("d/.wh.nothing")]),
    "whiteout in a missing directory": Case([base(), Tar().file("no/such/.wh.thing")]),
    "whiteout through a link": Case([base(), Tar().file("lib/.wh.libc")]),
    "opaque": Case([base(), Tar().dir("d", mtime=NEW).file("d/.wh..wh..opq").file("d/y", b"y", mtime=NEW)]),
    "opaque last": Case(
        [base(), Tar().dir("d", mtime=NEW).file("d/y", b"y", mtime=NEW).file("d/.wh..wh..opq")]
    ),
    "opaque unlisted": Case([base(), Tar().file("d/.wh..wh..opq").file("d/y", b"y", mtime=NEW)]),
    "opaque root": Case(
        [base(), Tar().file(".wh..wh..opq").dir("d", mtime=NEW).file("new", b"n", mtime=NEW)]
    ),
    "whiteout, then the directory": Case(
        [base(), Tar().file(".wh.d").dir("d", mtime=NEW).file("d/y", b"y", mtime=NEW)]
    ),
    "whiteout, then a file in it": Case(
        [base(), Tar().file(".wh.d").file("d/y", b"y", mtime=NEW)], {"": TIME, "d": TIME}
    ),
    "the directory, then its whiteout": Case(
        [base(), Tar().dir("d", mtime=NEW).file("d/y", b"y", mtime=NEW).file(".wh.d")], {"d": TIME}
    ),
    "a file in it, then the whiteout": Case(
        [base(), Tar().file("d/y", b"y", mtime=NEW).file(".wh.d")], {"d": TIME}
    ),
    "file, then its whiteout": Case([base(), Tar().file("x", b"new", mtime=NEW).file(".wh.x")]),
    "new file, then its whiteout": Case([base(), Tar().file("n", b"new", mtime=NEW).file(".wh.n")]),
    "whiteout, then the file": Case([base(), Tar().file(".wh.x").file("x", b"new", mtime=NEW)]),
    "empty whiteout": Case([base(), Tar().file(".wh.")]),
    "hard link to a lower file": Case(
        [base(), Tar().hardlink("y", "x", mtime=OLD, mode=0o600, uid=7, gid=8)]
    ),
    "hard link, other attributes": Case([base(), Tar().hardlink("y", "x", mtime=NEW, mode=0o644)]),
    "hard link below a link": Case([base(), Tar().hardlink("y", "lib/libc", mtime=OLD)]),
    "hard link within": Case(
        [Tar().file("a", b"a", mtime=OLD).hardlink("b", "a", mtime=OLD).hardlink("c", "/b", mtime=OLD)]
    ),
    "hard link within, other attributes": Case(
        [Tar().file("a", b"a", mtime=OLD).hardlink("b", "a", mtime=NEW, mode=0o600, uid=5)]
    ),
    "hard link to a symlink": Case([Tar().symlink("s", "gone", mtime=OLD).hardlink("t", "s", mtime=OLD)]),
    "hard link to nothing": Case([base(), Tar().hardlink("y", "nothing")]),
    "hard link to a directory": Case([base(), Tar().hardlink("y", "d")]),
    "hard link to a removed file": Case([base(), Tar().file(".wh.x").hardlink("y", "x")]),
    "overlay attributes": Case(
        [
            base(),
            Tar().dir("d", mtime=NEW, xattrs={"trusted.overlay.opaque": b"y", "user.overlay.opaque": b"y"}),
        ],
        {"d": OWN_BOOKS},
    ),
    "attributes": Case([Tar().file("f", mtime=OLD, xattrs={"user.k": b"v\0w", "trusted.t": b"t"})]),
    "capability": Case(
        [
            Tar().file(
                "cap",
                b"x",
                mode=0o755,
                uid=3,
                gid=4,
                mtime=OLD,
                xattrs={"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")},
            )
        ]
    ),
    "attribute with an equals sign": Case(
        [Tar().file("f", mtime=OLD, xattrs={"user.a=b": b"v"})], {"f": ESCAPED}
    ),
    "times before 1970": Case([Tar().file("f", mtime=-5).dir("d", mtime=-(10**9))]),
    "contiguous file": Case([Tar().add("f", b"7", b"data", mtime=OLD)], {"*": CONTIGUOUS}),
    "directory after its content": Case([base(), Tar().file("d/y", b"y", mtime=NEW).dir("d", mtime=NEW)]),
    "set-id bits": Case(
        [Tar().file("s", mode=0o6755, uid=3, gid=4, mtime=OLD).dir("t", mode=0o3777, gid=9, mtime=OLD)]
    ),
    "device 0:0": Case([base(), Tar().add("x", b"3", major=0, minor=0, mtime=NEW)], {"*": NO_CONTENT}),
    "devices and fifo": Case(
        [
            Tar()
            .add("c", b"3", major=1, minor=3, mode=0o666, mtime=OLD)
            .add("b", b"4", major=259, minor=70000, mode=0o660, gid=6, mtime=OLD)
            .add("p", b"6", mode=0o622, mtime=OLD)
        ]
    ),
    "duplicate path": Case([Tar().file("f", b"1", mtime=OLD).file("f", b"2", mode=0o600, mtime=NEW)]),
    "duplicate of another type": Case(
        [
            Tar()
            .dir("f", mtime=OLD)
            .file("f/g", mtime=OLD)
            .file("f", b"2", mtime=NEW)
            .symlink("s", "f")
            .dir("s", mtime=NEW)
        ]
    ),
    "root as a symlink": Case([Tar().symlink(".", "/etc")]),
    "root attributes": Case([Tar().dir(".", mode=0o700, uid=3, mtime=OLD)]),
    "dot-dot": Case(
        [
            Tar()
            .file("../../a", b"a", mtime=OLD)
            .file("d/../../b", b"b", mtime=OLD)
            .file("/c", b"c", mtime=OLD)
        ]
    ),
    "unlisted parents": Case([base(), Tar().file("d/sub/more", b"m", mtime=NEW)]),
    "unlisted parents, new": Case(
        [Tar().dir(".", mtime=OLD).file("a/b/c", b"c", mtime=OLD)], {"": TIME, "a": TIME, "a/b": TIME}
    ),
    "parent is a link": Case(
        [
            base(),
            Tar()
            .file("lib/new", b"n", mtime=NEW)
            .file("abs/two", b"2", mtime=NEW)
            .file("up/three", b"3", mtime=NEW),
        ]
    ),
    "parent is a dangling link": Case(
        [Tar().symlink("l", "nowhere/deep", mtime=OLD).file("l/f", b"f", mtime=OLD)],
        {"": TIME, "nowhere": TIME, "nowhere/deep": TIME},
    ),
    "parent is a file": Case([base(), Tar().file("x/y", b"y")]),
    "directory over a link": Case([base(), Tar().dir("lib", mtime=NEW).file("lib/a", b"a", mtime=NEW)]),
    "directory over a file": Case([base(), Tar().dir("x", mtime=NEW).file("x/a", b"a", mtime=NEW)]),
    "file over a directory": Case([base(), Tar().file("d", b"file", mtime=NEW)]),
    "file over a directory, then a directory": Case(
        [base(), Tar().file("d", b"file", mtime=NEW), Tar().dir("d", mtime=NEW).file("d/z", b"z", mtime=NEW)]
    ),
    "file and directory in one layer": Case([base(), Tar().file("d", b"f").dir("d", mtime=NEW)]),
    "directory attributes replaced": Case(
        [base(), Tar().dir("d", mode=0o700, mtime=NEW, xattrs={"user.b": b"2"})]
    ),
    "long names": Case(
        [
            Tar()
            .file("n" * 200, b"n", mtime=OLD)
            .dir("d" * 250, mtime=OLD)
            .file("d" * 250 + "/" + "f" * 200, mtime=OLD)
        ]
    ),
    "large ids": Case([Tar().file("f", uid=4294967294, gid=3000000000, mtime=OLD)]),
    "fractional times": Case([Tar().file("f", mtime=1, pax={b"mtime": b"1234567890.123456789"})]),
    "three layers": Case(
        [
            base(),
            Tar().file(".wh.d").file("k", b"k", mtime=OLD),
            Tar().file("d/again", b"a", mtime=NEW).file("d/sub/b", mtime=NEW),
        ],
        {"": TIME, "d": TIME, "d/sub": TIME},
    ),
}


def layout(path, layers):
    """An OCI image of those layers, tagged `t`."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    descriptors = [put(layer, "layer.v1.tar") for layer in layers]
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in descriptors]},
    }  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": descriptors,
    }
    tagged = put(json.dumps(manifest).encode(), "manifest.v1+json")
    tagged["annotations"] = {"org.opencontainers.image.ref.name": "t"}
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [tagged]}))
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def by_umoci(path, layers):
    layout(path / "image", layers)
    command = ["umoci", "unpack", "--image", f"{path}/image:t", str(path / "bundle")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return tree(path / "bundle" / "rootfs") if done.returncode == 0 else REFUSED


def in_order(layer, upper, below):
    upper.mkdir()
    apply_layer(io.BytesIO(layer), upper, below, open_in_root=open_in_root, sync=syncfs)


def ahead(layer, upper, below):
    """As layers are that are unpacked at the same time: those below are asked for only when needed."""
    try:
        upper.mkdir()
        apply_layer(io.BytesIO(layer), upper, lambda: below, open_in_root=open_in_root, sync=syncfs)
    except WrongAssumptionError:
        shutil.rmtree(upper)
        in_order(layer, upper, below)


def by_ahead(path, layers):
    return by_overlay(path, layers, ahead)


def by_overlay(path, layers, apply=in_order):
    made = []
    for number, layer in enumerate(layers):
        apply(layer, path / f"o{number}", made[::-1])
        made.append(path / f"o{number}")
    below = made[::-1]
    empty, merged = path / "empty", path / "merged"
    empty.mkdir()
    merged.mkdir()
    option = "lowerdir=" + ":".join(map(str, [*below, empty]))
    subprocess.run(["mount", "-t", "overlay", "-o", option, "overlay", str(merged)], check=True)
    try:
        return tree(merged)
    finally:
        subprocess.run(["umount", str(merged)], check=True)


def by_native(path, layers):
    root = path / "native"
    root.mkdir()
    os.utime(root, (0, 0))
    for layer in layers:
        apply_layer(io.BytesIO(layer), root, open_in_root=open_in_root, sync=syncfs, overlay=False)
    return tree(root)


def outcome(unpack, path, layers):
    try:
        return unpack(path, layers)
    except StorageError:
        return REFUSED


def differing(ours, theirs):
    if REFUSED in (ours, theirs):
        return {} if ours == theirs else {"*": (ours, theirs)}
    paths = ours.keys() | theirs.keys()
    return {path: (ours.get(path), theirs.get(path)) for path in paths if ours.get(path) != theirs.get(path)}


@pytest.mark.parametrize("unpack", [by_overlay, by_ahead, by_native])
@pytest.mark.parametrize("name", CASES)
def test_same_as_umoci(tmp_path, name, unpack):
    case = CASES[name]
    layers = [bytes(layer) for layer in case.layers]
    found = differing(outcome(unpack, tmp_path, layers), by_umoci(tmp_path, layers))
    assert found.keys() == case.differences.keys(), found
    for path, reason in case.differences.items():
        ours, theirs = found[path]
        assert reason is not TIME or without_time(ours) == without_time(theirs)


def without_time(described):
    return described[:3] + described[4:]


@pytest.mark.parametrize("name", CASES)
def test_umoci_reads_what_we_write(tmp_path, name):
    case = CASES[name]
    layers = [bytes(layer) for layer in case.layers]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    merged = outcome(by_overlay, ours, layers)
    if merged is REFUSED:
        pytest.skip("the layer is refused, so there is nothing to write")
    written = []
    for number in range(len(layers)):
        pieces = []
        write_layer(ours / f"o{number}", pieces.append, open_in_root=open_in_root)
        written.append(b"".join(pieces))
    found = differing(merged, by_umoci(theirs, written))
    assert found.keys() == {path for path, reason in case.differences.items() if reason is ESCAPED}
