import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.descriptor import MAX_SIZE, Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, StorageError
from storage.image.platform import Platform

CONTENT = b'{"hello":"world"}'
DIGEST = Digest.of(CONTENT)
MINIMAL = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(DIGEST), "size": len(CONTENT)}

text = st.text(st.characters(codec="utf-8"), max_size=20)
platforms = st.builds(
    Platform, os=text, architecture=text, variant=text, os_version=text, os_features=st.lists(text).map(tuple)
)
descriptors = st.builds(
    lambda content, with_data, **rest: Descriptor(
        digest=Digest.of(content), size=len(content), data=content if with_data and content else None, **rest
    ),
    content=st.binary(max_size=50),
    with_data=st.booleans(),
    media_type=st.sampled_from(["application/vnd.oci.image.manifest.v1+json", "text/plain", "a/b.c+d"]),
    urls=st.lists(text).map(tuple),
    annotations=st.dictionaries(text, text),
    artifact_type=st.none() | st.just("application/x"),
    platform=st.none() | platforms,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(descriptors)
def test_round_trip_through_json(descriptor):
    assert Descriptor.from_dict(json.loads(json.dumps(descriptor.to_dict()))) == descriptor
    assert hash(descriptor) == hash(Descriptor.from_dict(descriptor.to_dict()))


def test_empty_fields_are_left_out():
    assert Descriptor.from_dict(MINIMAL).to_dict() == MINIMAL


def test_names_are_those_of_oci():
    fields = {
        **MINIMAL,
        "urls": ["https://example.org/x"],
        "annotations": {"a": "b"},
        "data": base64.b64encode(CONTENT).decode(),
        "artifactType": "application/x",
        "platform": {
            "os": "linux",
            "architecture": "arm",
            "variant": "v7",
            "os.version": "1",
            "os.features": ["f"],
        },
    }
    descriptor = Descriptor.from_dict({**fields, "x-unknown": [1]})
    assert descriptor.to_dict() == fields
    assert descriptor.data == CONTENT


def test_null_stands_for_an_optional_field_left_out():
    optional = ["urls", "annotations", "data", "artifactType", "platform"]
    assert Descriptor.from_dict({**MINIMAL, **dict.fromkeys(optional)}) == Descriptor.from_dict(MINIMAL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", -1),
        ("size", MAX_SIZE + 1),
        ("size", 1.0),
        ("size", True),
        ("size", "17"),
        ("size", None),
        ("digest", None),
        ("digest", 1),
        ("digest", "sha256:" + "A" * 64),
        ("mediaType", None),
        ("mediaType", ""),
        ("mediaType", "text"),
        ("mediaType", "text/plain; charset=utf-8"),
        ("mediaType", "text/plain\n"),
        ("mediaType", "a/" + "b" * 128),
        ("urls", "https://example.org"),
        ("urls", [1]),
        ("annotations", {"a": 1}),
        ("annotations", ["a"]),
        ("data", "not base64!"),
        ("data", [1]),
        ("data", "\u00e9"),
        ("artifactType", "nothing"),
        ("artifactType", 1),
        ("platform", "linux/amd64"),
        ("platform", {"os": "linux"}),
        ("platform", {"os": "linux", "architecture": 386}),
        ("platform", {"os": "linux", "architecture": "386", "os.features": "x"}),
    ],
)
def test_wrong_fields_are_refused(name, value):
    with pytest.raises(InvalidArgumentError):
        Descriptor.from_dict({**MINIMAL, name: value})


def test_data_must_have_the_size_stated():
    with pytest.raises(InvalidArgumentError, match="3 bytes of data, not 17"):
        Descriptor.from_dict({**MINIMAL, "data": base64.b64encode(b"abc").decode()})


def test_data_must_have_the_digest_stated():
    other = bytes(len(CONTENT))
    with pytest.raises(InvalidArgumentError, match=str(Digest.of(other))):
        Descriptor.from_dict({**MINIMAL, "data": base64.b64encode(other).decode()})


def test_data_under_an_unknown_algorithm_cannot_be_believed():
    with pytest.raises(InvalidArgumentError, match="cannot be verified"):
        Descriptor.from_dict({"mediaType": "a/b", "digest": "x:y", "size": 1, "data": "YQ=="})


@given(st.dictionaries(st.sampled_from([*MINIMAL, "urls", "data", "platform"]), json_values) | json_values)
def test_nothing_but_a_storage_error_whatever_comes(value):
    with contextlib.suppress(StorageError):
        Descriptor.from_dict({**MINIMAL, **value} if isinstance(value, dict) else value)
