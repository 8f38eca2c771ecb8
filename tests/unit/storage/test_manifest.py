import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import Digest
from storage.errors import InvalidArgumentError, StorageError
from storage.image import media_types
from storage.image.manifest import Index, Manifest, children, parse_manifest

EVERY_MANIFEST = sorted(media_types.INDEXES | media_types.MANIFESTS | media_types.SCHEMA1)


def entry(content=b"{}", media_type=media_types.OCI_CONFIG, **rest):
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **rest}


LAYERS = [entry(b"lower", media_types.OCI_LAYER_GZIP), entry(b"upper", media_types.OCI_LAYER_ZSTD)]
MANIFEST = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": entry(), "layers": LAYERS}
INDEX = {
    "schemaVersion": 2,
    "mediaType": media_types.OCI_INDEX,
    "manifests": [
        entry(b"a", media_types.OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        entry(b"b", media_types.OCI_INDEX),
        entry(b"c", "application/vnd.example.unknown"),
    ],
}


def without(document, *names):
    return {name: value for name, value in document.items() if name not in names}


def parse(document, *args, **kwargs):
    return parse_manifest(json.dumps(document).encode(), *args, **kwargs)


def test_a_manifest_gives_its_config_and_its_layers_in_order():
    manifest = parse({**MANIFEST, "annotations": {"a": "b"}, "x-unknown": []})
    assert isinstance(manifest, Manifest)
    assert [child.to_dict() for child in manifest.children()] == [entry(), *LAYERS]
    assert manifest.annotations == {"a": "b"}
    assert manifest.is_image


def test_an_index_gives_its_manifests_in_order():
    index = parse(INDEX)
    assert isinstance(index, Index)
    assert [child.to_dict() for child in index.children()] == INDEX["manifests"]


@pytest.mark.parametrize(
    ("document", "media_type", "kind"),
    [
        (MANIFEST, media_types.DOCKER_MANIFEST, Manifest),
        (INDEX, media_types.DOCKER_INDEX, Index),
    ],
)
def test_docker_types_are_equivalent(document, media_type, kind):
    parsed = parse({**document, "mediaType": media_type}, media_type, by_digest=False)
    assert isinstance(parsed, kind)
    assert parsed.media_type == media_type


@pytest.mark.parametrize(("document", "kind"), [(MANIFEST, Manifest), (INDEX, Index)])
def test_the_fields_decide_when_nothing_is_said_of_the_type(document, kind):
    assert isinstance(parse(without(document, "mediaType")), kind)


def test_a_descriptor_is_believed_whatever_the_document_says():
    parsed = parse(MANIFEST, media_types.DOCKER_MANIFEST)
    assert parsed.media_type == media_types.DOCKER_MANIFEST
    with pytest.raises(InvalidArgumentError):
        parse(MANIFEST, media_types.OCI_INDEX)


def test_without_a_digest_the_types_must_agree():
    with pytest.raises(InvalidArgumentError, match="was sent as"):
        parse(MANIFEST, media_types.DOCKER_MANIFEST, by_digest=False)
    assert parse(without(MANIFEST, "mediaType"), media_types.OCI_MANIFEST, by_digest=False)


@pytest.mark.parametrize("media_type", [None, media_types.OCI_MANIFEST, media_types.OCI_INDEX])
@pytest.mark.parametrize(
    "both",
    [
        {**MANIFEST, "manifests": []},
        {**MANIFEST, **without(INDEX, "mediaType")},
        {**INDEX, "layers": LAYERS},
        {**INDEX, "config": entry()},
        {**without(MANIFEST, "mediaType"), "manifests": INDEX["manifests"]},
        {**MANIFEST, "fsLayers": [{}]},
    ],
)
def test_a_document_of_two_kinds_is_refused(both, media_type):
    with pytest.raises(InvalidArgumentError):
        parse(both, media_type)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 1, "name": "x", "fsLayers": []}, None),
        ({"schemaVersion": 1}, media_types.DOCKER_SCHEMA1),
        ({"schemaVersion": 1}, media_types.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 1}, media_types.OCI_MANIFEST),
    ],
)
def test_schema_1_is_refused_with_its_name(document, media_type):
    with pytest.raises(InvalidArgumentError, match="schema 1"):
        parse(document, media_type)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        without(MANIFEST, "schemaVersion"),
        {**MANIFEST, "schemaVersion": "2"},
        {**MANIFEST, "schemaVersion": 2.0},
        {**MANIFEST, "schemaVersion": 3},
        {**MANIFEST, "mediaType": 1},
        {**MANIFEST, "mediaType": "application/json"},
        without(MANIFEST, "config"),
        without(MANIFEST, "layers"),
        without(INDEX, "manifests"),
        {**MANIFEST, "config": None},
        {**MANIFEST, "layers": {}},
        {**MANIFEST, "layers": [None]},
        {**MANIFEST, "layers": [{**LAYERS[0], "size": -1}]},
        {**MANIFEST, "subject": []},
        {**MANIFEST, "annotations": {"a": 1}},
        {**INDEX, "manifests": {}},
    ],
)
def test_what_a_type_requires_is_required(document):
    with pytest.raises(InvalidArgumentError):
        parse(document)


def test_null_stands_for_no_layers_as_go_writes_it():
    assert parse({**MANIFEST, "layers": None}).layers == ()
    assert parse({**INDEX, "manifests": None}).manifests == ()


def test_an_artifact_with_an_empty_config_says_what_it_is():
    artifact = {**MANIFEST, "config": entry(b"{}", media_types.OCI_EMPTY, data="e30=")}
    with pytest.raises(InvalidArgumentError, match="artifactType"):
        parse(artifact)
    parsed = parse({**artifact, "artifactType": "application/vnd.example"})
    assert not parsed.is_image
    assert parsed.config.data == b"{}"


def test_the_subject_is_kept_but_is_no_child():
    parsed = parse({**MANIFEST, "subject": entry(b"s", media_types.OCI_MANIFEST)})
    assert parsed.subject.digest == Digest.of(b"s")
    assert parsed.subject not in parsed.children()


def test_children_of_everything_else_are_none():
    for media_type in (media_types.OCI_CONFIG, media_types.OCI_LAYER, "application/x", ""):
        assert children(media_type, b"\x00 not even json") == []
    assert len(children(media_types.OCI_MANIFEST, json.dumps(MANIFEST).encode())) == 3
    assert len(children(media_types.DOCKER_INDEX, json.dumps(INDEX).encode())) == 3


@given(st.sampled_from(EVERY_MANIFEST), st.binary() | st.text().map(str.encode))
def test_nothing_but_a_storage_error_whatever_bytes_come(media_type, content):
    with pytest.raises(StorageError) as caught:
        children(media_type, content)
    assert "\n" not in str(caught.value)


@given(st.data())
def test_nothing_but_a_storage_error_when_a_good_manifest_is_bent(data):
    document = json.loads(json.dumps(data.draw(st.sampled_from([MANIFEST, INDEX]))))
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not (isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(st.none() | st.integers() | st.text(max_size=3) | st.just([]) | st.just({}))
    with contextlib.suppress(StorageError):
        parse(document, data.draw(st.none() | st.sampled_from(EVERY_MANIFEST)))


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (media_types.OCI_LAYER, None),
        (media_types.OCI_LAYER_GZIP, "gzip"),
        (media_types.OCI_LAYER_ZSTD, "zstd"),
        (media_types.DOCKER_LAYER, None),
        (media_types.DOCKER_LAYER_GZIP, "gzip"),
        (media_types.DOCKER_LAYER_ZSTD, "zstd"),
        (media_types.DOCKER_FOREIGN_LAYER_GZIP, "gzip"),
    ],
)
def test_the_compression_that_a_type_promises(media_type, compression):
    assert media_types.compression_of(media_type) == compression
    assert media_type in media_types.LAYERS
