"""What is told of images whose documents say odd things."""

from __future__ import annotations

import pytest
from stored_documents import stored_document

from actors import messages as m
from actors.jobs.context import Context
from actors.jobs.describe import ImageWish, history, inspect, usage
from storage.content import ContentStore
from storage.descriptor import Descriptor
from storage.errors import InvalidArgumentError
from storage.image.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from transport.codec import pack, unpack

DIFF_ID = "sha256:" + "5" * 64


class Image(Context):
    """A job's context with one image of one layer, which has more in its config and manifest."""

    def __init__(self, root, config, manifest):
        self.store, self.namespace = ContentStore(root), "default"
        layers = {"type": "layers", "diff_ids": [DIFF_ID]}
        document = {
            "schemaVersion": 2,
            "config": self._stored(
                {"os": "linux", "architecture": "amd64", "rootfs": layers, **config}, OCI_CONFIG
            ),
            "layers": [self._stored("layer", OCI_LAYER)],
            **manifest,
        }
        self._root = Descriptor.from_dict(self._stored(document, OCI_MANIFEST))

    def _stored(self, document, media_type):
        return stored_document(self.store, document, media_type)

    def image(self, name):
        return name, self._root

    def call(self, body, *, to=""):
        """This image and one whose manifest is none."""
        del to
        assert isinstance(body, m.ImagesList)
        other = self._stored({"schemaVersion": 2, "config": {}}, OCI_MANIFEST)
        images = [{"name": "odd", "target": self._root.to_dict()}, {"name": "x", "target": other}]
        return {"images": images, "next": ""}


@pytest.fixture
def image(tmp_path):
    return lambda config, **manifest: Image(tmp_path / "content", config, manifest)


WISH = ImageWish("odd", "linux/amd64")


@pytest.mark.parametrize("wrong", ["text", {"created": "text"}, ["text"], 5])
def test_what_is_no_history_is_refused(image, wrong):
    with pytest.raises(InvalidArgumentError, match="history"):
        history(image({"history": wrong}), WISH)


def test_a_step_that_says_nothing_is_a_step(image):
    [row] = history(image({"history": [None]}), WISH)["history"]
    assert (row["created_by"], row["size"]) == ("", len('"layer"'))


@pytest.mark.parametrize(
    "number", [10**30, -(10**30), pytest.param(10**400, id="no float"), 2**64 - 1, -(2**63)]
)
def test_numbers_of_any_size_are_told(image, number):
    found = inspect(image({"odd": number}, odd=[number]), WISH)
    about = number if abs(number) < 2**65 else pytest.approx(float(str(number)))
    assert (found["config"]["odd"], found["manifest"]["odd"]) == (about, [about])
    assert unpack(pack(found)) == found


def test_images_that_are_damaged_do_not_matter_to_others(image):
    found = usage(image({}), WISH)
    assert (found["blobs"], found["unique"]) == (3, found["size"])
