import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from storage.metadata import Image

TARGET = {"digest": "sha256:aa", "size": 3, "mediaType": "m", "annotations": {"ä": "b"}}


def test_put_creates_then_updates(metadata):
    image, created = metadata.images.put("ns", "a:1", TARGET, {"k": "v"})
    assert created
    assert image == Image("ns", "a:1", TARGET, {"k": "v"}, 1000, 1000)
    image, created = metadata.images.put("ns", "a:1", {"digest": "other"})
    assert not created
    assert image == Image("ns", "a:1", {"digest": "other"}, {"k": "v"}, 1000, 1001)
    image, _ = metadata.images.put("ns", "a:1", TARGET, {})
    assert image.labels == {}


def test_create_refuses_a_taken_name(metadata):
    assert metadata.images.create("ns", "a:1", TARGET).target == TARGET
    with pytest.raises(AlreadyExistsError, match='image "a:1" already exists in namespace "ns"'):
        metadata.images.create("ns", "a:1", {"digest": "other"})
    assert metadata.images.get("ns", "a:1").target == TARGET
    metadata.images.create("other", "a:1", TARGET)


def test_list_and_delete(metadata):
    for name in ("b", "a"):
        metadata.images.put("ns", name, TARGET)
    metadata.images.put("other", "c", TARGET)
    assert [image.name for image in metadata.images.list("ns")] == ["a", "b"]
    assert metadata.images.delete("ns", "a").name == "a"
    assert [image.name for image in metadata.images.list("ns")] == ["b"]
    with pytest.raises(NotFoundError):
        metadata.images.delete("ns", "a")


def test_not_found_says_where_it_is(metadata):
    with pytest.raises(NotFoundError) as caught:
        metadata.images.get("ns", "a")
    assert str(caught.value) == 'image "a" not found in namespace "ns"'
    metadata.images.put("k8s.io", "a", TARGET)
    with pytest.raises(NotFoundError) as caught:
        metadata.images.get("ns", "a")
    assert str(caught.value) == 'image "a" not found in namespace "ns"; exists in namespace "k8s.io"'


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 1025])
def test_bad_names(metadata, name):
    with pytest.raises(InvalidArgumentError):
        metadata.images.put("ns", name, TARGET)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_target_comes_back_as_it_was(metadata, target):
    assert metadata.images.put("ns", "a", target)[0].target == target
