"""Archives as values: names, documents, members, and what is below a root."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

from storage.archive.docker import build_manifest, build_manifest_file, parse_manifest_file
from storage.archive.layout import build_index, check_header, parse_index
from storage.archive.members import Member, clean, directory_members, tar_members
from storage.archive.writing import DirectorySink, TarSink
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.image.changes import apply_changes
from storage.image.contents import walk
from storage.image.manifest import Manifest, parse_manifest
from storage.image.media_types import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from storage.image.platform import parse_platform
from storage.layer.limits import Limits

FULL, REF = "io.containerd.image.name", "org.opencontainers.image.ref.name"
BASE = "localhost/loaded"


def blob(content: bytes, media_type: str, **more) -> Descriptor:
    return Descriptor(media_type, Digest.of(content), len(content), **more)


def index_of(*annotations: dict[str, str]) -> bytes:
    entries = [
        {**blob(str(number).encode(), OCI_MANIFEST).to_dict(), "annotations": names}
        for number, names in enumerate(annotations)
    ]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


@pytest.mark.parametrize(
    ("annotations", "name"),
    [
        ({FULL: "docker.io/library/a:1", REF: "1"}, "docker.io/library/a:1"),
        ({REF: "1"}, f"{BASE}:1"),
        ({REF: "a:1"}, "docker.io/library/a:1"),
        ({REF: "example.org/a"}, "example.org/a:latest"),
        ({REF: "_1.0-"}, f"{BASE}:_1.0-"),
        ({REF: "v1.2--rc1+build.5"}, f"{BASE}:v1.2--rc1_build.5"),
        ({REF: "example.org/a:1.0+5"}, "example.org/a:1.0_5"),
        ({REF: "Some/Where:1@2"}, f"{BASE}:Some_Where_1_2"),
        ({}, f"{BASE}@{Digest.of(b'0')}"),
    ],
)
def test_names_of_an_index(annotations, name):
    [found] = parse_index(index_of(annotations), BASE)
    assert found.name == name
    assert found.target.annotations == {}
    assert parse_index(build_index([found]), BASE) == [found]


@pytest.mark.parametrize("other", ["1.0+1", "1.0_1"])
def test_one_name_for_two_images_is_refused(other):
    with pytest.raises(InvalidArgumentError, match="two images named"):
        parse_index(index_of({REF: "1.0+1"}, {REF: other}), BASE)


@pytest.mark.parametrize("ref", ["a b", "-a", "/a b", "é", "a" * 129])
def test_what_no_layout_may_call_an_image_is_refused(ref):
    with pytest.raises(InvalidArgumentError, match="malformed"):
        parse_index(index_of({REF: ref}), BASE)


def test_entries_of_other_types_are_passed_over():
    entry = blob(b"x", "application/vnd.example+json").to_dict()
    assert parse_index(json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(), BASE) == []


@pytest.mark.parametrize("version", ["2.0.0", "", "0.9"])
def test_other_versions_of_a_layout_are_refused(version):
    with pytest.raises(InvalidArgumentError, match="version"):
        check_header(json.dumps({"imageLayoutVersion": version}).encode())


def test_manifest_json_has_an_image_with_two_names_once():
    manifest = parse_manifest(build_manifest(blob(b"{}", OCI_CONFIG), [blob(b"l", OCI_LAYER_GZIP)]))
    assert isinstance(manifest, Manifest)
    content = build_manifest_file([("docker.io/library/a:1", manifest), ("example.org/b:2", manifest)])
    [found] = parse_manifest_file(content)
    assert found.names == ("docker.io/library/a:1", "example.org/b:2")
    assert found.config == f"blobs/sha256/{manifest.config.digest.hex}"
    assert json.loads(content)[0]["RepoTags"] == ["a:1", "example.org/b:2"]


@pytest.mark.parametrize("name", ["", ".", "/a", "a/../b", "..", "a\nb", "\udcff", "./.."])
def test_names_that_lead_elsewhere(name):
    with pytest.raises(InvalidArgumentError):
        clean(name)


def test_names_are_cleaned():
    assert clean("./blobs//sha256/./x") == "blobs/sha256/x"


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (f"blobs/sha256/{'a1' * 32}", f"sha256:{'a1' * 32}"),
        (f"blobs/sha512/{'a1' * 64}", f"sha512:{'a1' * 64}"),
        (f"blobs/sha256/{'A1' * 32}", None),
        (f"blobs/md5/{'a1' * 16}", None),
        (f"other/sha256/{'a1' * 32}", None),
    ],
)
def test_a_blobs_name_is_its_digest(name, digest):
    assert str(Member(name).digest) == str(digest)


def archive(*entries: tuple[str, bytes, str]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    buffer.seek(0)
    return buffer


def test_links_are_names_within_the_archive():
    members = tar_members(
        archive(
            ("a/b/layer.tar", tarfile.SYMTYPE, "../../c/layer.tar"), ("d", tarfile.LNKTYPE, "a/b/layer.tar")
        )
    )
    assert [(one.name, one.link) for one in members] == [
        ("a/b/layer.tar", "c/layer.tar"),
        ("d", "a/b/layer.tar"),
    ]


def test_too_many_members_are_refused():
    entries = [(f"f{number}", tarfile.REGTYPE, "") for number in range(20)]
    with pytest.raises(InvalidArgumentError, match="archive: more than 10 headers"):
        list(tar_members(archive(*entries), Limits(entries=10)))


def test_both_sinks_are_read_again(tmp):
    files = {"blobs/sha256/" + "a1" * 32: b"x" * 1000, "index.json": b"{}"}
    buffer = io.BytesIO()
    (tmp / "out").mkdir()
    fd = os.open(tmp / "out", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for sink in (TarSink(buffer.write), DirectorySink(fd)):
            for name, content in files.items():
                sink.put(name, len(content), [content])
            sink.finish()
        with pytest.raises(FailedPreconditionError, match="not empty"):
            DirectorySink(fd)
        buffer.seek(0)
        opener = lambda root, path, flags: os.open(path, flags, dir_fd=root)  # noqa: E731
        for members in (tar_members(buffer), directory_members(fd, opener)):
            assert {one.name: b"".join(one.body) for one in members} == files
    finally:
        os.close(fd)


def tree(**more) -> tuple[Descriptor, dict[Digest, bytes]]:
    """An index of an index, with two platforms, of which one is not here, and an artifact."""
    blobs: dict[Digest, bytes] = {}

    def put(value, media_type: str, **how) -> Descriptor:
        content = json.dumps(value).encode()
        found = blob(content, media_type, **how)
        blobs[found.digest] = content
        return found

    image = put(
        json.loads(build_manifest(blob(b"{}", OCI_CONFIG), [])),
        OCI_MANIFEST,
        platform=parse_platform("linux/arm/v7"),
    )
    absent = blob(b"absent", OCI_MANIFEST, platform=parse_platform("amd64"))
    artifact = {
        "schemaVersion": 2, "artifactType": "application/x", "layers": [],
        "config": blob(b"{}", OCI_EMPTY).to_dict(), **more,
    }  # fmt: skip
    inner = put({"schemaVersion": 2, "manifests": [image.to_dict(), absent.to_dict()]}, OCI_INDEX)
    other = put(artifact, OCI_MANIFEST)
    return put({"schemaVersion": 2, "manifests": [inner.to_dict(), other.to_dict()]}, OCI_INDEX), blobs


def test_what_is_below_a_root():
    root, blobs = tree()
    contents = walk(root, lambda one: blobs.get(one.digest))
    assert len(contents.documents) == 4
    assert [str(one.platform) for one in contents.absent] == ["linux/amd64"]
    assert [part.manifest.is_image for part in contents.parts] == [False, True]
    assert [str(part.platform) for part in contents.suiting(parse_platform("arm64"))] == ["linux/arm/v7"]
    assert contents.suiting(parse_platform("linux/arm/v6")) == []
    assert len(list(contents.blobs())) == 5  # the two configs are the same bytes


def test_an_index_of_too_many_indexes_is_refused():
    root, blobs = tree()
    for _ in range(10):
        content = json.dumps({"schemaVersion": 2, "manifests": [root.to_dict()]}).encode()
        root = blob(content, OCI_INDEX)
        blobs[root.digest] = content
    with pytest.raises(InvalidArgumentError, match="nests more than"):
        walk(root, lambda one: blobs.get(one.digest))


def test_changes_to_a_config():
    before = {"Env": ["A=1", "B=2"], "Cmd": ["x"], "Labels": {"a": "b"}}
    after = apply_changes(
        before,
        [
            *('CMD ["sh", "-c", "x"]', "entrypoint run me", "ENV A=3", "LABEL c=d", "EXPOSE 80/tcp 81/udp"),
            *("USER 7:8", "WORKDIR /w", "VOLUME /v", "STOPSIGNAL SIGINT"),
        ],
    )
    assert after == {
        "Cmd": ["sh", "-c", "x"],
        "Entrypoint": ["/bin/sh", "-c", "run me"],
        "Env": ["B=2", "A=3"],
        "Labels": {"a": "b", "c": "d"},
        "ExposedPorts": {"80/tcp": {}, "81/udp": {}},
        "User": "7:8",
        "WorkingDir": "/w",
        "Volumes": {"/v": {}},
        "StopSignal": "SIGINT",
    }
    assert before["Env"] == ["A=1", "B=2"]


@pytest.mark.parametrize("change", ["", "CMD", "RUN x", "CMD [1]", "CMD [", "ENV A", "LABEL =x", "USER a\0b"])
def test_changes_that_make_no_sense(change):
    with pytest.raises(InvalidArgumentError):
        apply_changes({}, [change])
