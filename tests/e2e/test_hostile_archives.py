"""Archives made to do harm, or just broken: each is refused with a reason, and leaves no name and no file."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import images
import pytest
import zstandard

from cli.jobs import do, lend
from cli.session import RefusedError, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from daemon import Daemon

pytestmark = pytest.mark.root
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
NAME = {"io.containerd.image.name": "example.org/hostile:1"}


class Archive:
    """A tar in memory: a sound image of one small layer, and whatever a case does to it."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self.put("oci-layout", VERSION)

    def put(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self.tar.addfile(entry, io.BytesIO(content))

    def link(self, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, target
        self.tar.addfile(entry)

    def blob(self, content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        self.put(f"blobs/sha256/{digest}", content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content), **more}

    def document(self, value: Any, media_type: str) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), media_type)

    def image(self, diff_id: str = "", **changes: Any) -> dict[str, Any]:
        """A manifest; `changes` are made to it."""
        plain = _layer()
        layer = self.blob(gzip.compress(plain, mtime=0), images.LAYER)
        diff_id = diff_id or "sha256:" + hashlib.sha256(plain).hexdigest()
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": images.MANIFEST,
            "config": self.document(config, images.CONFIG),
            "layers": [layer],
        }
        return self.document({**manifest, **changes}, images.MANIFEST)

    def index(self, *roots: dict[str, Any], **more: Any) -> None:
        named = [{"annotations": NAME, **root} for root in roots]
        self.put("index.json", json.dumps({"schemaVersion": 2, "manifests": named, **more}).encode())

    def bytes(self) -> bytes:
        self.tar.close()
        return self.buffer.getvalue()


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        images.add_file(tar, "file", b"content\n")
    return buffer.getvalue()


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {}


def case(reason: str) -> Callable[[Callable[[Archive], bytes | None]], None]:
    """An archive, and what its refusal says."""

    def note(make: Callable[[Archive], bytes | None]) -> None:
        def build() -> bytes:
            archive = Archive()
            return make(archive) or archive.bytes()

        CASES[make.__name__.strip("_")] = (reason, build)

    return note


@case("neither oci's nor docker's")
def _empty(_: Archive) -> bytes:
    return bytes(10240)


@case("checksum is wrong")
def _no_tar(_: Archive) -> bytes:
    return bytes(range(256)) * 100


@case("cut off")
def _cut_off(archive: Archive) -> bytes:
    archive.index(archive.image())
    return archive.bytes()[:2500]


@case("cut off")
def _gzip_cut_off(archive: Archive) -> bytes:
    archive.index(archive.image())
    return gzip.compress(archive.bytes())[:-100]


@case("damaged")
def _gzip_damaged(archive: Archive) -> bytes:
    archive.index(archive.image())
    content = bytearray(gzip.compress(archive.bytes()))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


@case("decompression bomb")
def _bomb(archive: Archive) -> bytes:
    archive.put("big", bytes(300 << 20))
    return zstandard.compress(archive.bytes(), 1)


@case("no name for a file")
def _climbing_name(archive: Archive) -> None:
    archive.put("blobs/../../../canary", b"x")


@case("no name for a file")
def _absolute_name(archive: Archive) -> None:
    archive.put("/canary", b"x")


@case("no name for a file")
def _control_characters(archive: Archive) -> None:
    archive.put("blobs/\x1b[2J", b"x")


@case("leads out of the archive")
def _link_out(archive: Archive) -> None:
    archive.link("index.json", "/etc/passwd")


@case("leads out of the archive")
def _climbing_link(archive: Archive) -> None:
    archive.link("blobs/sha256/" + "a1" * 32, "../../../../etc/shadow")


@case("leads out of the archive")
def _climbing_hard_link(archive: Archive) -> None:
    archive.link("index.json", "../../etc/passwd", tarfile.LNKTYPE)


@case("neither oci's nor docker's")
def _index_by_link(archive: Archive) -> None:
    archive.put("other", b'{"schemaVersion":2,"manifests":[]}')
    archive.link("index.json", "other")


@case("no image needs")
def _device(archive: Archive) -> None:
    archive.link("blobs/null", "", tarfile.CHRTYPE)


@case("no image needs")
def _fifo(archive: Archive) -> None:
    archive.link("index.json", "", tarfile.FIFOTYPE)


@case("more than the")
def _huge_index(archive: Archive) -> None:
    archive.put("index.json", b" " * (5 << 20))


@case("more than the")
def _claimed_size(archive: Archive) -> bytes:
    entry = tarfile.TarInfo("index.json")
    entry.size = 1 << 30
    return archive.bytes()[:1024] + entry.tobuf(tarfile.GNU_FORMAT)


@case("above the limit")
def _claimed_blob(archive: Archive) -> bytes:
    entry = tarfile.TarInfo("blobs/sha256/" + "a1" * 32)
    entry.size = 1 << 50
    return archive.bytes()[:1024] + entry.tobuf(tarfile.GNU_FORMAT)


@case("extension header")
def _huge_header(archive: Archive) -> bytes:
    entry = tarfile.TarInfo("x")
    entry.pax_headers = {"comment": "x" * 100_000}
    return archive.bytes()[:1024] + entry.tobuf(tarfile.PAX_FORMAT)


@case("stands in it twice")
def _two_indexes(archive: Archive) -> None:
    root = archive.image()
    archive.index(root)
    archive.index()


@case("instead of sha256")
def _wrong_digest(archive: Archive) -> None:
    archive.put("blobs/sha256/" + "a1" * 32, b"something else")


@case("lacks blob")
def _missing_layer(archive: Archive) -> None:
    layer = {"mediaType": images.LAYER, "digest": "sha256:" + "b2" * 32, "size": 3}
    archive.index(archive.image(layers=[layer]))


@case("has no manifest in it")
def _missing_manifest(archive: Archive) -> None:
    archive.index({"mediaType": images.MANIFEST, "digest": "sha256:" + "c3" * 32, "size": 3})


@case("two kinds")
def _manifest_and_index(archive: Archive) -> None:
    archive.index(archive.image(manifests=[]))


@case("two kinds")
def _index_and_manifest(archive: Archive) -> None:
    archive.index(archive.image(), layers=[])


@case("occurs twice")
def _two_meanings(archive: Archive) -> None:
    archive.put("index.json", b'{"schemaVersion":2,"manifests":[],"manifests":[]}')


@case("nested deeper")
def _deep_json(archive: Archive) -> None:
    archive.put("index.json", b'{"schemaVersion":2,"manifests":' + b"[" * 5000 + b"]" * 5000 + b"}")


@case("not valid json")
def _not_json(archive: Archive) -> None:
    archive.put("index.json", b"\xff\xfe{")


@case("obsolete")
def _schema_one(archive: Archive) -> None:
    archive.index(archive.image(schemaVersion=1))


@case("but the image says")
def _wrong_size(archive: Archive) -> None:
    root = archive.image()
    archive.index({**root, "size": root["size"] + 1})


@case("size outside")
def _negative_size(archive: Archive) -> None:
    archive.index({**archive.image(), "size": -1})


@case("but the image says")
def _wrong_diff_id(archive: Archive) -> None:
    archive.index(archive.image(diff_id="sha256:" + "d4" * 32))


@case("malformed: expected")
def _no_name(archive: Archive) -> None:
    archive.index({**archive.image(), "annotations": {"io.containerd.image.name": "../../Etc"}})


@case("two images named")
def _one_name_for_two(archive: Archive) -> None:
    archive.index(archive.image(), archive.image(annotations={"other": "one"}))


@case("nests more than")
def _index_of_indexes(archive: Archive) -> None:
    root = archive.image()
    for _ in range(10):
        root = archive.document({"schemaVersion": 2, "manifests": [root]}, images.INDEX)
    archive.index(root)


@case("only 1 is known")
def _other_version(archive: Archive) -> bytes:
    archive.buffer.truncate(0)
    other = Archive.__new__(Archive)
    other.buffer = io.BytesIO()
    other.tar = tarfile.open(fileobj=other.buffer, mode="w")  # noqa: SIM115
    other.put("oci-layout", b'{"imageLayoutVersion":"2.0.0"}')
    other.index()
    return other.bytes()


@case("no name for a file")
def _docker_climbs(archive: Archive) -> None:
    archive.put("manifest.json", b'[{"Config":"../../etc/passwd","Layers":[]}]')


@case("which is not in it")
def _docker_lacks(archive: Archive) -> None:
    archive.put("manifest.json", b'[{"Config":"config.json","Layers":[]}]')


@case("which is not in it")
def _docker_links_in_a_circle(archive: Archive) -> None:
    archive.link("config.json", "other.json")
    archive.link("other.json", "config.json")
    archive.put("manifest.json", b'[{"Config":"config.json","Layers":[]}]')


@case("not valid json")
def _docker_config_is_none(archive: Archive) -> None:
    archive.put("config.json", b"no config")
    archive.put("manifest.json", b'[{"Config":"config.json","Layers":[]}]')


@case("is not a list")
def _docker_is_no_list(archive: Archive) -> None:
    archive.put("manifest.json", b"{}")


@case("layers but")
def _docker_counts_differ(archive: Archive) -> None:
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    archive.put("config.json", json.dumps(config).encode())
    archive.put("layer.tar", _layer())
    archive.put("manifest.json", b'[{"Config":"config.json","Layers":["layer.tar"]}]')


@pytest.fixture
def session(daemon: Daemon) -> Iterator[Session]:
    """A connection, as actr has one."""
    opened = Session(str(daemon.state / "actord.sock"), "default")
    yield opened
    opened.close()


def refusal(session: Session, path: Path) -> str:
    """Why an archive is not loaded; it has changed nothing."""
    wish = {"namespace": "default"}
    before = session.ask("metadata", "images.list", wish)
    fd = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(RefusedError) as refused:
            do(session, "load", {"source": lend(fd)}, quiet=True)
    finally:
        os.close(fd)
    assert session.ask("metadata", "images.list", wish) == before
    assert refused.value.code == "invalid_argument"
    return str(refused.value)


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_archive_is_refused(name: str, session: Session, tmp: Path):
    reason, build = CASES[name]
    (tmp / "canary").write_text("untouched")
    (tmp / "archive").write_bytes(build())
    text = refusal(session, tmp / "archive")
    assert reason in text
    assert text.isprintable()
    assert sorted(path.name for path in tmp.iterdir()) == ["archive", "canary"]
    assert (tmp / "canary").read_text() == "untouched"


def test_the_same_archive_without_harm_is_loaded(daemon: Daemon, tmp: Path):
    archive = Archive()
    archive.index(archive.image())
    (tmp / "archive").write_bytes(archive.bytes())
    assert daemon.actr("load", "-q", "-i", tmp / "archive").stdout == "example.org/hostile:1\n"
    daemon.actr("rmi", "example.org/hostile:1")


@pytest.fixture
def layout(tmp: Path) -> Path:
    """A sound layout in a directory."""
    images.busybox(tmp / "layout", "1")
    return tmp / "layout"


def _index_is_a_link(layout: Path) -> None:
    (layout / "index.json").rename(layout.parent / "index.json")
    (layout / "index.json").symlink_to(layout.parent / "index.json")


def _index_is_a_fifo(layout: Path) -> None:
    (layout / "index.json").unlink()
    os.mkfifo(layout / "index.json")


def _blob_is_a_link(layout: Path) -> None:
    blob = next((layout / "blobs/sha256").iterdir())
    blob.rename(layout.parent / "moved")
    blob.symlink_to(layout.parent / "moved")


def _blobs_are_elsewhere(layout: Path) -> None:
    (layout / "blobs").rename(layout.parent / "blobs")
    (layout / "blobs").symlink_to("../blobs")


def _blob_is_a_device(layout: Path) -> None:
    os.mknod(layout / "blobs/sha256" / ("a1" * 32), 0o20600, os.makedev(1, 5))


@pytest.mark.parametrize(
    "harm", [_index_is_a_link, _index_is_a_fifo, _blob_is_a_link, _blobs_are_elsewhere, _blob_is_a_device]
)
def test_a_hostile_layout_is_refused(harm: Callable[[Path], None], session: Session, layout: Path):
    harm(layout)
    assert refusal(session, layout).startswith("layout: ")


def test_a_descriptor_that_is_another_file_is_not_taken(session: Session, tmp: Path):
    """Whoever names a descriptor has to know what it is."""
    with (tmp / "file").open("wb") as file, pytest.raises(RefusedError, match="is another file"):
        do(session, "load", {"source": {**lend(file.fileno()), "ino": 2}}, quiet=True)
