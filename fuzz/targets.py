"""The parsers that are fuzzed: each takes bytes, and may raise nothing but a refusal.

That is InvalidArgumentError or ProtocolError. A target also checks what must hold of what it accepts.
Whatever else it raises is a finding.
"""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any, Final

import zstandard

from fuzz import bbolt
from fuzz.frames import FRAMES
from storage.archive.containerd import images
from storage.archive.docker import build_manifest, parse_manifest_file
from storage.archive.layout import build_index, check_header, parse_index
from storage.archive.members import tar_members
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image.config import parse_config
from storage.image.document import parse_document
from storage.image.manifest import Manifest, parse_manifest
from storage.image.media_types import DOCKER_INDEX, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from storage.image.platform import parse_platform
from storage.image.selection import candidates
from storage.layer import tar_writer
from storage.layer.compression import open_blob
from storage.layer.header import Entry, Kind, check_ranges
from storage.layer.limits import Limits
from storage.layer.names import target
from storage.layer.pax import Extension
from storage.layer.tar import TarReader
from storage.reference import Reference
from transport.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL: Final = Limits(
    entries=1000,
    header_bytes=4096,
    path_bytes=256,
    total_bytes=1 << 20,
    ratio_floor=1 << 16,
    window_bytes=1 << 20,
)
AMD64: Final = parse_platform("linux/amd64")


def manifest(data: bytes) -> None:
    """A manifest or index, of the type that it says itself and of each that a descriptor could say."""
    for media_type in (None, OCI_MANIFEST, OCI_INDEX, DOCKER_INDEX):
        try:
            found = parse_manifest(data, media_type)
        except InvalidArgumentError:
            continue
        for child in found.children():
            assert Descriptor.from_dict(json.loads(json.dumps(child.to_dict()))) == child
        if not isinstance(found, Manifest):
            assert set(candidates(found, AMD64)) <= set(found.manifests)


def config(data: bytes) -> None:
    """An image's config."""
    found = parse_config(data, OCI_CONFIG)
    assert "\0" not in "".join(found.args)


def descriptor(data: bytes) -> None:
    """A descriptor within a document."""
    found = Descriptor.from_dict(parse_document(data, "descriptor"))
    assert Descriptor.from_dict(found.to_dict()) == found


def reference(data: bytes) -> None:
    """An image's name: the canonical form is its own, and the short form means the same."""
    found = Reference.parse(_text(data))
    assert Reference.parse(str(found)) == found
    assert Reference.parse(found.familiar()) == found


def digest(data: bytes) -> None:
    """A digest: written as it was read."""
    text = _text(data)
    assert str(Digest.parse(text)) == text


def platform(data: bytes) -> None:
    """A platform: normalised once and for all."""
    found = parse_platform(_text(data))
    assert found.normalise() == found


def layout_index(data: bytes) -> None:
    """index.json of an archive: what is written from it says the same."""
    found = parse_index(data, "localhost/fuzz")
    assert parse_index(build_index(found), "localhost/fuzz") == found


def layout_header(data: bytes) -> None:
    """The file oci-layout."""
    check_header(data)


def docker_manifest(data: bytes) -> None:
    """manifest.json of Docker's archives: no name in it leads out."""
    for image in parse_manifest_file(data):
        for name in (image.config, *image.layers):
            assert not name.startswith("/")
            assert ".." not in name.split("/")


def archive(data: bytes) -> None:
    """An archive's members, read to the end."""
    for member in tar_members(io.BytesIO(data), SMALL):
        assert sum(len(piece) for piece in member.body) == member.size
        assert ".." not in member.name.split("/")
        assert ".." not in member.link.split("/")


def tar(data: bytes) -> None:
    """A layer's tar: every byte of it is read once, and what comes out can be the name of a file."""
    pieces = iter([data[start : start + 700] for start in range(0, len(data), 700)])
    reader = TarReader(lambda: next(pieces, b""), SMALL)
    for entry in reader:
        assert b"\0" not in entry.name + entry.link
        assert sum(map(len, reader.body())) == entry.stored <= len(data)


def pax_records(data: bytes) -> None:
    """A PAX header by itself, and what it makes of an entry."""
    entry = Entry(b"f", Kind.REGULAR, 0o644, 0, 0, 0, 0, b"")
    Extension(data).amend(entry)
    check_ranges(entry, SMALL.path_bytes)


def stream(data: bytes) -> None:
    """A compressed blob, whatever it says it is: never more than the caps allow."""
    blob = open_blob(io.BytesIO(data), SMALL)
    while piece := blob.read(1 << 14):
        assert len(piece) <= 1 << 14


def layer_name(data: bytes) -> None:
    """What the name of an entry means never leads out."""
    found = target(data, SMALL)
    for part in (*found.directory.split(b"/"), found.name):
        assert part != b".."


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _seed_descriptor(media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{'a1' * 32}", "size": 7, **more}


def _seed_archive() -> bytes:
    entries = [
        (b"oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        (b"index.json", b"{}"),
        (b"b/x.json", b"1"),
    ]
    parts = []
    for name, content in entries:
        parts.append(tar_writer.headers(Entry(name, Kind.REGULAR, 0o644, 0, 0, len(content), 0, b"")))
        parts.append(content + tar_writer.padding(len(content)))
    parts.append(tar_writer.headers(Entry(b"b/link", Kind.SYMLINK, 0o777, 0, 0, 0, 0, b"../index.json")))
    return b"".join([*parts, tar_writer.END])


_CONFIG: Final = _seed_descriptor(OCI_CONFIG)
_EMPTY: Final = {"digest": str(Digest.of(b"{}")), "size": 2, "data": "e30="}
_LAYER: Final = Descriptor.from_dict(
    _seed_descriptor(OCI_LAYER_GZIP, annotations={"a": "b"}, urls=["http://x"])
)
_NAMES: Final = {
    "org.opencontainers.image.ref.name": "1",
    "io.containerd.image.name": "docker.io/library/a:1",
}
_PLATFORM: Final = {"os": "linux", "architecture": "arm", "variant": "v7", "os.features": ["x"]}
_INDEX: Final = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [_seed_descriptor(OCI_MANIFEST, platform=_PLATFORM, annotations=_NAMES)],
    "subject": _CONFIG,
}
_IMAGE: Final = {
    "architecture": "amd64",
    "os": "linux",
    "config": {
        "Cmd": ["sh"],
        "Env": ["A=b"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}},
        "User": "1",
    },
    "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'b2' * 32}"]},
    "history": [{"created_by": "x", "empty_layer": True}],
}
_DOCKER: Final = [{"Config": "a.json", "RepoTags": ["a:1"], "Layers": ["b/layer.tar"]}]


def containerd_database(data: bytes) -> None:
    """The pages of a database that begins as it should: no digest holds those together."""
    images(bbolt.file(data))


_PAX: Final = b"9 size=7\n20 mtime=1234567.89\n31 SCHILY.xattr.user.key=value\n22 GNU.sparse.map=0,1\n"


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "manifest": (manifest, (build_manifest(Descriptor.from_dict(_CONFIG), [_LAYER]), _json(_INDEX))),
    "config": (config, (_json(_IMAGE),)),
    "descriptor": (descriptor, (_json({**_CONFIG, **_EMPTY}), _json(_CONFIG))),
    "reference": (reference, (b"busybox", b"a.b:5000/c/d:tag@sha256:" + b"a1" * 32, b"[::1]:5000/a_b/c-d")),
    "digest": (digest, (b"sha256:" + b"a1" * 32, b"sha512:" + b"0f" * 64, b"a+b.c:x=")),
    "platform": (platform, (b"linux/arm/v7", b"amd64", b"Linux/AARCH64/8")),
    "layout_index": (layout_index, (_json(_INDEX),)),
    "layout_header": (layout_header, (b'{"imageLayoutVersion":"1.0.0"}',)),
    "docker_manifest": (docker_manifest, (_json(_DOCKER),)),
    "archive": (archive, (_seed_archive(),)),
    "tar": (tar, (_seed_archive(),)),
    "pax_records": (pax_records, (_PAX,)),
    "stream": (stream, (gzip.compress(_seed_archive(), mtime=0), zstandard.compress(_seed_archive()), b"x")),
    "layer_name": (layer_name, (b"a/../.wh.b", b"./c/.wh..wh..opq", b"/.wh..wh.plnk/1")),
    "containerd_database": (containerd_database, (bbolt.ROOT,)),
    **FRAMES,
}
"""Each target by name, with inputs to begin from."""


def harmless(target: Callable[[bytes], None], data: bytes) -> None:
    """Run a target; a refusal is what it is for."""
    try:
        target(data)
    except (InvalidArgumentError, ProtocolError) as error:
        text = str(error)
        assert text.isprintable(), text
        assert len(text) < 2000, text
