"""Pushing to Debian's docker-registry; skopeo pulls what was pushed."""

import pytest

from tests.e2e.registry import OCI_MANIFEST, Registry, make_image, skopeo
from transport.registry.client import RegistryClient
from transport.registry.credentials import GivenLogin, Login
from transport.registry.errors import NotFoundError
from transport.registry.hosts import Hosts


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("image") / "layout", "v1", b"small", b"large" * 400_000)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with Registry(tmp_path_factory.mktemp("registry"), htpasswd={"anna": "s3cret-word"}) as running:
        yield running


@pytest.fixture
def client(registry):
    made = RegistryClient(Hosts(), GivenLogin(registry.host, Login("anna", "s3cret-word")), "actord-test")
    yield made
    made.close()


def push(destination, image, **how):
    for digest, content in image.blobs.items():
        destination.put_blob(digest, len(content), lambda offset, content=content: [content[offset:]], **how)
        assert destination.has_blob(digest)
    destination.put_manifest(image.digest, OCI_MANIFEST, image.manifest)
    assert destination.put_manifest(image.tag, OCI_MANIFEST, image.manifest).digest == image.digest


@pytest.mark.parametrize("chunk", [None, 1000, 1 << 20])
def test_skopeo_pulls_what_was_pushed(registry, client, image, tmp_path, chunk):
    repository = f"pushed/chunk-{chunk or 0}"
    push(client.destination(registry.host, repository), image, chunk=chunk)
    skopeo(
        "copy", "--insecure-policy", "--src-tls-verify=false", "--src-creds", "anna:s3cret-word",
        f"docker://{registry.host}/{repository}@{image.digest}", f"oci:{tmp_path}/pulled:v1",
    )  # fmt: skip
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "pulled/blobs/sha256").iterdir()}
    wanted = {digest.partition(":")[2]: content for digest, content in image.blobs.items()}
    assert blobs == {**wanted, image.digest.partition(":")[2]: image.manifest}
    assert client.tags(registry.host, repository) == ["v1"]


def test_a_blob_is_mounted_from_another_repository(registry, client, image):
    push(client.destination(registry.host, "source/app"), image)
    target = client.destination(registry.host, "target/app")
    for digest, content in image.blobs.items():
        assert not target.has_blob(digest)
        assert not target.put_blob(
            digest, len(content), lambda _: pytest.fail("sent"), mount_from="source/app"
        )
        assert target.has_blob(digest)


def test_a_mount_from_where_it_is_not_becomes_an_upload(client, registry, image):
    target = client.destination(registry.host, "other/app")
    digest, content = next(iter(image.blobs.items()))
    assert target.put_blob(digest, len(content), lambda offset: [content[offset:]], mount_from="none/there")
    assert target.has_blob(digest)


def test_deleting_a_manifest(client, registry, image):
    target = client.destination(registry.host, "deleted/app")
    push(target, image)
    target.delete_manifest(image.digest)
    with pytest.raises(NotFoundError):
        client.fetch_manifest(registry.host, "deleted/app", image.digest)
    with pytest.raises(NotFoundError):
        target.delete_manifest(image.digest)
