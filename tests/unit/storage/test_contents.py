"""What there is below a root, and how much of it is looked at."""

import json

import pytest

from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.image import contents, media_types
from storage.image.contents import walk

EMPTY = Descriptor(media_types.OCI_EMPTY, Digest.of(b"{}"), 2)


class Documents:
    """Documents that are here, by digest; each that is asked for is counted."""

    def __init__(self):
        self.kept = {}
        self.asked = 0

    def add(self, document, media_type):
        content = json.dumps({"schemaVersion": 2, **document}).encode()
        found = Descriptor(media_type, Digest.of(content), len(content))
        self.kept[found.digest] = content
        return found

    def manifest(self, *layers, **fields):
        document = {"config": EMPTY.to_dict(), "layers": [one.to_dict() for one in layers], **fields}
        return self.add({"artifactType": "application/x-test", **document}, media_types.OCI_MANIFEST)

    def index(self, *entries):
        return self.add({"manifests": [one.to_dict() for one in entries]}, media_types.OCI_INDEX)

    def read(self, descriptor):
        self.asked += 1
        return self.kept.get(descriptor.digest)


@pytest.fixture
def documents():
    return Documents()


def absent(number, media_type=media_types.OCI_MANIFEST):
    return Descriptor(media_type, Digest.of(b"%d" % number), 1)


def test_an_index_may_name_as_many_manifests_as_it_likes_that_are_not_here(documents):
    mine = documents.manifest()
    found = walk(documents.index(mine, *map(absent, range(5000))), documents.read)
    assert [part.descriptor for part in found.parts] == [mine]
    assert len(found.absent) == 5000


def test_an_artifact_may_have_thousands_of_layers(documents):
    layers = [absent(number, media_types.OCI_LAYER) for number in range(5000)]
    [part] = walk(documents.manifest(*layers), documents.read).parts
    assert len(part.manifest.layers) == 5000


def test_an_index_may_have_thousands_of_manifests_that_are_here(documents):
    """One that lists what was signed and attested of an image with many builds, say."""
    many = [documents.manifest(annotations={"n": str(n)}) for n in range(3000)]
    assert [part.descriptor for part in walk(documents.index(*many), documents.read).parts] == many


@pytest.mark.parametrize(("bound", "value"), [("MAX_CHILDREN", 20), ("MAX_BYTES", 3000)])
def test_all_documents_together_are_bounded(documents, monkeypatch, bound, value):
    """Each may be small enough, and all together fill the memory."""
    monkeypatch.setattr(contents, bound, value)
    layers = [absent(number, media_types.OCI_LAYER) for number in range(8)]
    indexes = [documents.manifest(*layers[:-number]) for number in (1, 2, 3)]
    assert len(walk(documents.index(indexes[0]), documents.read).parts) == 1
    with pytest.raises(InvalidArgumentError, match="names more than"):
        walk(documents.index(*indexes), documents.read)


def test_what_is_named_time_and_again_is_looked_at_once(documents):
    mine = documents.manifest()
    inner = [documents.index(*[mine] * 1000, absent(number)) for number in range(20)]
    found = walk(documents.index(*inner), documents.read)
    assert documents.asked == 1 + 20 + 1 + 20
    assert len(found.parts) == 1
