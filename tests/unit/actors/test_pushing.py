"""What a push makes of other images of the namespace, and of what a registry has under its tags."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from stored_documents import stored

from actors import messages as m
from actors.transfers.push import Push
from storage.content import ContentStore
from storage.digest import Digest
from storage.errors import StorageError
from storage.image.media_types import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from storage.reference import Reference
from tests.scripted_registry import Answer, ScriptedRegistry
from transport.registry.client import RegistryClient
from transport.registry.credentials import NoCredentials
from transport.registry.errors import RegistryError
from transport.registry.hosts import Hosts
from transport.registry.listing import fallback_tag

SUBJECT = "sha256:" + "5" * 64


class Transfer:
    """In the place of `Transfer`: a store with what it is given, and the images of its namespace."""

    def __init__(self, root, client):
        self.store = ContentStore(root)
        self.client = client
        self.namespace = "default"
        self.images = {}
        self.actor = SimpleNamespace(namespace="default", lease="", call=self.call)

    def call(self, body, **_):
        if isinstance(body, m.ImagesGet):
            return {"target": self.images[body.name]}
        if isinstance(body, m.ImagesList):
            return {"images": [{"name": name, "target": target} for name, target in self.images.items()]}
        return None

    @contextmanager
    def several(self):
        with ThreadPoolExecutor(2) as pool:
            yield pool

    def persist(self, operation):
        return operation()

    def moved(self, *_):
        """Nobody watches."""

    def throttle(self, *_):
        """As fast as it goes."""

    def keep(self, content, media_type):
        return stored(self.store, content, media_type)

    def image(self, name, **fields):
        """Have an image of one layer under a name; its descriptor."""
        config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [SUBJECT]}}
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.keep(json.dumps(config | {"author": name}).encode(), OCI_CONFIG),
            "layers": [self.keep(f"layer of {name}".encode(), OCI_LAYER)],
            **fields,
        }
        self.images[name] = self.keep(json.dumps(document).encode(), OCI_MANIFEST)
        return self.images[name]


@pytest.fixture
def registry():
    with ScriptedRegistry() as scripted:
        yield scripted


@pytest.fixture
def transfer(registry, tmp_path):
    client = RegistryClient(Hosts(), NoCredentials(), "actord-test")
    yield Transfer(tmp_path / "content", client)
    client.close()


@pytest.fixture
def push(registry, transfer):
    """Pushes an image to a repository that has its blobs already."""

    def run(image):
        name = next(name for name, target in transfer.images.items() if target == image)
        for info in transfer.store.blobs():
            registry.on("HEAD", f"/v2/a/b/blobs/{info.digest}", Answer(200))
        registry.on("PUT", "/v2/a/b/manifests/v1", Answer(201))
        return Push(transfer, Reference.parse(name), Reference.parse(f"{registry.host}/a/b:v1")).run()

    return run


@pytest.mark.parametrize("name", ["Own Name", "a/b@sha256:0"])
def test_names_that_are_no_references_do_not_matter(transfer, registry, push, name):
    """Clients of containerd's API name images as they like."""
    image = transfer.image("quay.test/x/own:v1")
    transfer.image(name)
    assert push(image)["digest"] == image["digest"]


@pytest.mark.parametrize("damage", [b"{", b"[]", b""])
def test_other_images_that_are_damaged_do_not_matter(transfer, registry, push, damage):
    image = transfer.image("quay.test/x/own:v1")
    other = transfer.image(f"{registry.host}/c/d:v1")
    transfer.store.path(Digest.parse(other["digest"])).write_bytes(damage)
    assert push(image)["digest"] == image["digest"]


@pytest.fixture
def referrer(transfer, registry):
    """Something that refers to another manifest, at a registry that has no list for that."""
    image = transfer.image("quay.test/x/signature:v1", subject=_descriptor(SUBJECT))
    registry.on("PUT", f"/v2/a/b/manifests/{fallback_tag(SUBJECT)}", Answer(201))
    return image


def _descriptor(digest):
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 5}


@pytest.mark.parametrize(
    "there", [None, [_descriptor("sha256:" + "6" * 64)], []], ids=["none yet", "another", "null"]
)
def test_a_referrer_is_listed_under_a_tag(transfer, registry, push, referrer, there):
    if there is not None:
        list_ = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": there or None}
        registry.add_manifest("a/b", json.dumps(list_).encode(), fallback_tag(SUBJECT), media_type=OCI_INDEX)
    push(referrer)
    [put] = registry.requests("PUT", f"/v2/a/b/manifests/{fallback_tag(SUBJECT)}")
    listed = [entry["digest"] for entry in json.loads(put.body)["manifests"]]
    assert listed == [*(entry["digest"] for entry in there or ()), referrer["digest"]]


@pytest.mark.parametrize(
    "document",
    [
        {"mediaType": OCI_INDEX},
        {"mediaType": OCI_INDEX, "manifests": {}},
        {"mediaType": OCI_INDEX, "manifests": ["x"]},
        {"mediaType": OCI_MANIFEST, "config": _descriptor(SUBJECT), "layers": []},
    ],
)
def test_what_is_no_list_of_referrers_is_left_alone(transfer, registry, push, referrer, document):
    body = json.dumps({"schemaVersion": 2, **document}).encode()
    registry.add_manifest("a/b", body, fallback_tag(SUBJECT), media_type=document["mediaType"])
    with pytest.raises((StorageError, RegistryError)) as caught:
        push(referrer)
    assert fallback_tag(SUBJECT) in str(caught.value)
    assert not registry.requests("PUT", f"/v2/a/b/manifests/{fallback_tag(SUBJECT)}")
