import itertools
import json

import pytest

from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.errors import InvalidArgumentError, NotFoundError
from storage.image import media_types
from storage.image.manifest import parse_manifest
from storage.image.platform import parse_platform
from storage.image.selection import MAX_DOCUMENTS, MAX_INDEX_DEPTH, candidates, find_manifest

AMD64 = parse_platform("linux/amd64")


class Documents:
    """Makes documents and remembers which of them were read."""

    def __init__(self):
        self.contents = {}
        self.read_names = []
        self.serial = itertools.count()

    def add(self, document, media_type):
        content = json.dumps({"schemaVersion": 2, "serial": next(self.serial), **document}).encode()
        descriptor = Descriptor(media_type, Digest.of(content), len(content))
        self.contents[descriptor.digest] = content
        return descriptor

    def manifest(self, config_type=media_types.OCI_CONFIG):
        config = Descriptor(config_type, Digest.of(b"{}"), 2)
        return self.add({"config": config.to_dict(), "layers": []}, media_types.OCI_MANIFEST)

    def index(self, *entries):
        return self.add(
            {"manifests": [self.entry(child, platform) for child, platform in entries]}, media_types.OCI_INDEX
        )

    def entry(self, child, platform):
        fields = child.to_dict()
        return {**fields, "platform": parse_platform(platform).to_dict()} if platform else fields

    def read(self, descriptor):
        self.read_names.append(descriptor.digest)
        return self.contents[descriptor.digest]

    def find(self, root, platform=AMD64):
        return find_manifest(root, platform, self.read)[0].digest


@pytest.fixture
def documents():
    return Documents()


def test_a_manifest_is_its_own_answer(documents):
    manifest = documents.manifest()
    assert documents.find(manifest) == manifest.digest


def test_the_first_of_equals_wins(documents):
    other, first, second = (documents.manifest() for _ in range(3))
    root = documents.index((other, "linux/arm64"), (first, "linux/amd64"), (second, "linux/amd64"))
    assert documents.find(root) == first.digest
    assert documents.read_names == [root.digest, first.digest]


def test_the_best_variant_wins_wherever_it_stands(documents):
    v6, v7 = documents.manifest(), documents.manifest()
    root = documents.index((v6, "linux/arm/v6"), (v7, "linux/arm/v7"))
    assert documents.find(root, parse_platform("linux/arm/v7")) == v7.digest
    assert documents.find(root, parse_platform("linux/arm/v6")) == v6.digest


def test_indexes_nest_and_the_search_goes_on_after_a_fruitless_one(documents):
    wanted = documents.manifest()
    fruitless = documents.index((documents.manifest(), "linux/s390x"))
    inner = documents.index((documents.manifest(), "linux/arm64"), (wanted, "linux/amd64"))
    root = documents.index((fruitless, None), (inner, None))
    assert documents.find(root) == wanted.digest


def test_a_stated_platform_goes_before_none(documents):
    unstated, stated = documents.manifest(), documents.manifest()
    assert documents.find(documents.index((unstated, None), (stated, "linux/386"))) == stated.digest
    assert documents.find(documents.index((unstated, None), (stated, "linux/arm64"))) == unstated.digest


def test_unknown_types_and_artifacts_are_no_error_and_not_chosen(documents):
    unknown = documents.add({}, "application/vnd.example")
    artifact, image = documents.manifest("application/vnd.example.config"), documents.manifest()
    root = documents.index((unknown, "linux/amd64"), (artifact, "linux/amd64"), (image, "linux/amd64"))
    assert documents.find(root) == image.digest
    assert len(candidates(parse_manifest(documents.contents[root.digest]), AMD64)) == 2


def test_nothing_that_suits_says_what_there_is(documents):
    root = documents.index((documents.manifest(), "linux/arm64"), (documents.manifest(), "linux/s390x"))
    with pytest.raises(NotFoundError, match=r"nothing for linux/amd64: it has linux/arm64, linux/s390x"):
        documents.find(root)


def test_an_empty_index_has_nothing(documents):
    with pytest.raises(NotFoundError, match="no images"):
        documents.find(documents.index())


@pytest.mark.parametrize(("levels", "found"), [(MAX_INDEX_DEPTH - 1, True), (MAX_INDEX_DEPTH, False)])
def test_the_depth_is_bounded(documents, levels, found):
    image = root = documents.manifest()
    for _ in range(levels):
        root = documents.index((root, None))
    if found:
        assert documents.find(root) == image.digest
        return
    with pytest.raises(InvalidArgumentError, match="nests more"):
        documents.find(root)


def test_the_number_of_documents_read_is_bounded(documents):
    empty = documents.index()
    root = documents.index(*[(empty, None)] * (MAX_DOCUMENTS + 1))
    with pytest.raises(InvalidArgumentError, match=str(MAX_DOCUMENTS)):
        documents.find(root)
    assert len(documents.read_names) == MAX_DOCUMENTS
