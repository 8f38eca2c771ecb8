"""What can be done with an image or to make one: commit, convert, diff, export, import, mount, check."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import images
import pytest
import zstandard
from archives import of_layout, skopeo, umoci
from daemon import running, wait_until

if TYPE_CHECKING:
    from daemon import Daemon
    from registry import Registry

pytestmark = pytest.mark.root
CHANGE = (
    "echo new > /new; echo more >> /etc/passwd; rm /etc/shadow; rm -r /home; mkdir /home; echo x > /home/x"
)


@pytest.fixture
def changed(daemon: Daemon, busybox: str) -> Any:
    """A container that has changed some files and has exited."""
    daemon.actr("run", "--name", "changed", busybox, "sh", "-c", CHANGE)
    yield "changed"
    daemon.actr("rm", "-f", "changed")


@pytest.fixture
def failing(tmp: Path, busybox: str) -> Any:
    """A daemon with failpoints."""
    with running(tmp, "--failpoints") as started:
        started.actr("pull", busybox)
        yield started


def blob(daemon: Daemon, digest: str) -> bytes:
    return (daemon.root / "content/blobs" / digest.replace(":", "/")).read_bytes()


def test_diff_lists_what_changed(daemon: Daemon, changed: str):
    found = dict(reversed(line.split(" ", 1)) for line in daemon.actr("diff", changed).stdout.splitlines())
    wanted = {"/new": "A", "/etc": "C", "/etc/passwd": "C", "/etc/shadow": "D", "/home/x": "A", "/home": "C"}
    assert {path: found.get(path) for path in wanted} == wanted
    listed = daemon.json("diff", changed)
    assert {one["path"]: one["kind"] for one in listed} == found


def test_a_commit_holds_what_changed(daemon: Daemon, busybox: str, changed: str, tmp: Path):
    words = ["--message", "why", "--author", "who", "--change", 'CMD ["cat", "/new"]', "-c", "ENV WHERE=here"]
    assert daemon.actr("commit", "-q", *words, changed, "made:1").stdout == "docker.io/library/made:1\n"
    assert daemon.actr("run", "--rm", "made:1").stdout == "new\n"
    script = "tail -n1 /etc/passwd; ls /etc/shadow /home; echo $WHERE"
    done = daemon.actr("run", "--rm", "made:1", "sh", "-c", script)
    assert done.stdout == "more\n/home:\nx\nhere\n"
    assert "/etc/shadow" in done.stderr
    before, after = (daemon.json("images", "inspect", name) for name in (busybox, "made:1"))
    assert after["manifest"]["layers"][:-1] == before["manifest"]["layers"]
    assert after["config"]["rootfs"]["diff_ids"][:-1] == before["config"]["rootfs"]["diff_ids"]
    latest = daemon.json("history", "made:1")[0]
    assert (latest["comment"], latest["author"]) == ("why", "who")
    assert latest["digest"] == after["manifest"]["layers"][-1]["digest"]
    daemon.actr("save", "-q", "-d", tmp / "layout", "made:1")
    umoci("unpack", "--image", f"{tmp}/layout:1", tmp / "bundle")
    root = tmp / "bundle/rootfs"
    assert (root / "new").read_text() == "new\n"
    assert not (root / "etc/shadow").exists()
    assert [path.name for path in (root / "home").iterdir()] == ["x"]


def test_the_same_changes_are_the_same_layer(daemon: Daemon, changed: str):
    layers = []
    for name in ("same:1", "same:2"):
        daemon.actr("commit", "-q", changed, name)
        layers.append(daemon.json("images", "inspect", name)["manifest"]["layers"][-1]["digest"])
    assert layers[0] == layers[1]


def test_a_running_container_stands_still_while_it_is_committed(failing: Daemon, busybox: str):
    """Its actor is killed meanwhile, and so is the job: it runs on in the end."""
    daemon = failing
    daemon.actr(
        "run", "-d", "--name", "busy", busybox, "sh", "-c", "while :; do echo >> /count; sleep 0.01; done"
    )
    wait_until("it counts", lambda: runs_on(daemon))
    daemon.actr("chaos", "set", "job.commit.frozen", "kill(count=1)")
    [container] = daemon.json("ps")
    assert daemon.actr("commit", "-q", "busy", "busy:1").stdout == "docker.io/library/busy:1\n"
    count = int(daemon.actr("run", "--rm", "busy:1", "wc", "-l", "/count").stdout.split()[0])
    assert count > 0
    assert runs_on(daemon)
    daemon.actr("chaos", "set", "job.commit.frozen", "hang(count=1)")
    with daemon.popen("commit", "-q", "busy", "busy:2") as commit:
        wait_until("the container stands still", lambda: not runs_on(daemon, seconds=1.0))
        daemon.kill_actor(f"container/default/{container['id']}")
        wait_until("it goes on without who had frozen it", lambda: runs_on(daemon))
        commit.kill()
    daemon.actr("rm", "-f", "busy")


def runs_on(daemon: Daemon, seconds: float = 20.0) -> bool:
    """Whether the counter of the container grows."""
    # The container's, and the layers made of it; not by rglob: one that ran with --rm may be going meanwhile.
    uppers = list((daemon.root / "snapshots/snapshots").glob("*/fs/count"))

    def written() -> int:
        return sum(path.stat().st_size for path in uppers)

    before = written()
    try:
        wait_until("it counts", lambda: written() > before, seconds)
    except AssertionError:
        return False
    return True


def test_an_image_whose_config_has_other_layers_is_not_converted(daemon: Daemon, tmp: Path):
    """Nobody has unpacked it, so nobody has compared them."""
    layout = images.Layout(tmp / "odd")
    layers = [layout.add_layer(lambda tar: images.add_file(tar, "f", b"x")) for _ in range(2)]
    image = layout.add_image(layers, {})
    manifest = json.loads(layout.path(image["digest"]).read_text())
    layout.tag("1", layout.add_json({**manifest, "layers": manifest["layers"][:1]}, images.MANIFEST))
    daemon.actr("load", "-q", "--no-unpack", "--base-name", "odd", "-i", tmp / "odd")
    refused = daemon.actr("images", "convert", "-q", "odd:1", "odd:2", check=1)
    assert "image has 1 layers but 2 diff ids" in refused.stderr
    daemon.actr("rmi", "odd:1")


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
def test_a_converted_image_is_the_same_files(daemon: Daemon, busybox: str, compression: str, tmp: Path):
    name = f"converted:{compression}"
    daemon.actr("images", "convert", "-q", "--compression", compression, "--platform", "amd64", busybox, name)
    before, after = (daemon.json("images", "inspect", one) for one in (busybox, name))
    assert after["config"] == before["config"]
    [layer] = after["manifest"]["layers"]
    suffix = {"zstd": "+zstd", "gzip": "+gzip", "none": ".tar"}[compression]
    assert layer["mediaType"].endswith(suffix)
    assert daemon.actr("run", "--rm", name, "echo", "hello").stdout == "hello\n"
    daemon.actr("save", "-q", "-d", tmp / "layout", name)
    skopeo("copy", "--quiet", "--preserve-digests", f"oci:{tmp}/layout:{compression}", f"oci:{tmp}/copied:x")
    assert of_layout(tmp / "copied", "x").layers == (layer["digest"],)
    unpack = {"zstd": zstandard.ZstdDecompressor().decompressobj().decompress, "gzip": gzip.decompress}
    plain = unpack.get(compression, bytes)(blob(daemon, layer["digest"]))
    assert "sha256:" + hashlib.sha256(plain).hexdigest() == before["config"]["rootfs"]["diff_ids"][0]
    again = f"again:{compression}"
    daemon.actr(
        "images", "convert", "-q", "--compression", compression, "--platform", "amd64", busybox, again
    )
    assert daemon.json("images", "inspect", again)["digest"] == after["digest"]


def test_export_and_import_give_the_same_files(daemon: Daemon, changed: str, tmp: Path):
    daemon.actr("export", "-q", "-o", tmp / "root.tar", changed)
    with tarfile.open(tmp / "root.tar") as tar:
        names = set(tar.getnames())
        assert tar.extractfile("./new" if "./new" in names else "new").read() == b"new\n"
    assert "etc/shadow" not in names
    assert {"bin/busybox", "home/x"} <= names
    (tmp / "root.tar.gz").write_bytes(gzip.compress((tmp / "root.tar").read_bytes(), 1))
    assert daemon.actr("import", "-q", "-c", "CMD cat /new", tmp / "root.tar.gz", "imported:1").stdout
    assert daemon.actr("run", "--rm", "imported:1").stdout == "new\n"


def test_an_export_that_is_killed_leaves_no_directory(daemon: Daemon, changed: str):
    def made() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob("actord-root-*"))

    before, others = made(), daemon.actors()
    with daemon.popen("export", "-q", changed) as export:
        assert export.stdout.read(1), "it has begun, and waits for a reader"
        [job] = [name for name in daemon.actors() if name.startswith("job/") and name not in others]
        os.kill(daemon.pid(job), signal.SIGKILL)
        _, said = export.communicate(timeout=60)
    assert b"interrupted" in said
    assert made() == before


def test_a_container_that_was_never_started_has_the_files_of_its_image(
    daemon: Daemon, busybox: str, tmp: Path
):
    daemon.actr("create", "--name", "still", busybox, "cat", "/new")
    assert daemon.actr("diff", "still").stdout == ""
    daemon.actr("export", "-q", "-o", tmp / "root.tar", "still")
    with tarfile.open(tmp / "root.tar") as tar:
        assert "bin/busybox" in tar.getnames()
    daemon.actr("commit", "-q", "-c", "CMD echo committed", "still", "still:1")
    assert daemon.actr("run", "--rm", "still:1").stdout == "committed\n"
    (tmp / "new").write_text("copied\n")
    daemon.actr("cp", tmp / "new", "still:/new")
    assert daemon.actr("start", "-a", "still").stdout == "copied\n"
    daemon.actr("rm", "still")
    daemon.actr("rmi", "still:1")


@pytest.mark.parametrize("words", [("export", "-o", "/dev/null"), ("diff",)])
def test_a_container_of_a_bundle_has_no_files_of_ours(daemon: Daemon, tmp: Path, words: tuple[str, ...]):
    (tmp / "rootfs").mkdir()
    config = {"ociVersion": "1.0.2", "process": {"args": ["true"], "cwd": "/"}, "root": {"path": "rootfs"}}
    (tmp / "config.json").write_text(json.dumps(config))
    daemon.actr("create", "--name", "still", "--bundle", tmp)
    assert "container still has no files of ours" in daemon.actr(*words, "still", check=1).stderr
    daemon.actr("rm", "still")


def test_a_disk_without_room_for_an_export_is_said(daemon: Daemon, changed: str):
    assert "no space left on device" in daemon.actr("export", "-o", "/dev/full", changed, check=1).stderr


def test_mount_and_umount(daemon: Daemon, busybox: str, tmp: Path):
    place = tmp / "place"
    place.mkdir()
    try:
        daemon.actr("images", "mount", "-q", busybox, place)
        assert (place / "bin/busybox").is_file()
        with pytest.raises(OSError, match="Read-only"):
            (place / "x").touch()
        assert "mounted" in daemon.actr("images", "mount", busybox, place, check=2).stderr
    finally:
        daemon.actr("images", "umount", place)
    assert not any(place.iterdir())
    daemon.actr("images", "umount", place)


def test_check_usage_tag_and_rmi(daemon: Daemon, busybox: str):
    daemon.actr("tag", busybox, "tagged:1")
    assert (
        daemon.json("images", "inspect", "tagged:1")["target"]
        == daemon.json("images", "inspect", busybox)["target"]
    )
    [usage] = daemon.json("images", "usage", "tagged:1")
    assert usage["size"] > 500_000
    assert usage["unique"] == 0
    [checked] = daemon.json("images", "check", "--deep", "tagged:1")
    assert (checked["complete"], checked["unpacked"], checked["damaged"]) == (True, True, [])
    daemon.actr("rmi", "tagged:1")
    assert "tagged" not in daemon.actr("images").stdout


def test_what_is_saved_beside_a_manifest_of_another_platform_can_be_loaded(
    own_daemon: Daemon, registry: Registry, busybox: str, tmp: Path
):
    """A copy leaves the manifests of all platforms here; those without layers are none of the archive's."""
    daemon = own_daemon
    daemon.actr("copy", "-q", busybox, f"{registry.host}/copied/busybox:1")
    daemon.actr("save", "-q", "-o", tmp / "app.tar", busybox)
    with tarfile.open(tmp / "app.tar") as archive:
        assert len([one for one in archive.getnames() if one.startswith("blobs/")]) == 4
    daemon.actr("rmi", busybox)
    daemon.actr("load", "-q", "-i", tmp / "app.tar")
    assert daemon.actr("run", "--rm", busybox, "echo", "back").stdout == "back\n"


def test_an_artifact_of_many_layers_is_kept_with_all_of_them(own_daemon: Daemon, tmp: Path):
    """Each child is a label of its parent, and the collector goes by these."""
    layout = images.Layout(tmp / "many")
    layers = [layout.add_blob(b"%d" % number, "application/x-piece") for number in range(30)] * 50
    config = layout.add_blob(b"{}", "application/vnd.oci.empty.v1+json")
    document = {"schemaVersion": 2, "artifactType": "application/x-many", "config": config, "layers": layers}
    artifact = layout.add_json(document, images.MANIFEST)
    others = [{**artifact, "digest": f"sha256:{number:064x}"} for number in range(1500)]
    layout.tag("1", layout.add_index([artifact, *others]))
    own_daemon.actr("load", "-q", "--base-name", "many", "-i", tmp / "many")
    own_daemon.actr("system", "gc")
    kept = {one["digest"] for one in own_daemon.json("content", "ls")}
    assert {one["digest"] for one in [artifact, config, *layers]} <= kept
    own_daemon.actr("rmi", "many:1")
    own_daemon.actr("system", "gc")
    assert not {one["digest"] for one in layers} & {one["digest"] for one in own_daemon.json("content", "ls")}


def test_a_damaged_blob_is_found_and_not_saved(own_daemon: Daemon, busybox: str, tmp: Path):
    inspected = own_daemon.json("images", "inspect", busybox)
    digest = inspected["manifest"]["layers"][0]["digest"]
    path = own_daemon.root / "content/blobs" / digest.replace(":", "/")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    own_daemon.actr("images", "check", busybox)
    assert "incomplete" in own_daemon.actr("images", "check", "--deep", busybox, check=1).stdout
    refused = own_daemon.actr("save", "-q", "-o", tmp / "saved", busybox, check=1)
    assert "damaged" in refused.stderr
    assert not list(tmp.glob("*saved*"))


def test_a_root_without_layers_is_exported_and_not_committed(daemon: Daemon, busybox: str, tmp: Path):
    daemon.actr("pull", "-q", "--snapshotter", "native", busybox)
    daemon.actr("run", "--name", "flat", "--snapshotter", "native", busybox, "touch", "/made")
    try:
        assert "cannot tell what has changed" in daemon.actr("commit", "-q", "flat", "flat:1", check=1).stderr
        daemon.actr("export", "-q", "-o", tmp / "root.tar", "flat")
        with tarfile.open(tmp / "root.tar") as tar:
            assert {"made", "bin/busybox"} <= set(tar.getnames())
    finally:
        daemon.actr("rm", "-f", "flat")
