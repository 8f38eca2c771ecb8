"""Against Debian's docker-registry, filled by skopeo."""

import random
import subprocess

import pytest
from daemon import wait_until

from tests.certificates import make_certificates
from tests.e2e.registry import OCI_MANIFEST, Registry, make_image, push_with_skopeo
from transport.registry.client import RegistryClient
from transport.registry.credentials import DockerConfig, GivenLogin, Login, NoCredentials
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    NotFoundError,
    NotReachableError,
    PermissionDeniedError,
)
from transport.registry.hosts import Hosts

LARGE = random.Random(3).randbytes(3_000_000)  # noqa: S311 - content, not a secret
LOGIN = Login("anna", "s3cret-word")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return make_image(tmp_path_factory.mktemp("image") / "layout", "v1", b"small", LARGE)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, image):
    with Registry(tmp_path_factory.mktemp("plain")) as registry:
        push_with_skopeo(image, registry.host, "team/app")
        yield registry


@pytest.fixture
def make_client():
    made = []

    def make(credentials=None, *directories):
        made.append(RegistryClient(Hosts(directories), credentials or NoCredentials(), "actord-test"))
        return made[-1]

    yield make
    for client in made:
        client.close()


def check_pull(client, host, image):
    """Resolve the tag, fetch the manifest and every blob."""
    found = client.resolve(host, "team/app", "v1")
    assert (found.digest, found.media_type, found.size) == (image.digest, OCI_MANIFEST, len(image.manifest))
    assert client.fetch_manifest(host, "team/app", found.digest).body == image.manifest
    for digest, content in image.blobs.items():
        with client.fetch_blob(host, "team/app", digest, len(content)) as stream:
            assert b"".join(stream) == content


def test_pull(plain, image, make_client):
    check_pull(make_client(), plain.host, image)


def test_ranges_resume_and_only_what_is_missing_is_sent(plain, image, make_client):
    digest, content = max(image.blobs.items(), key=lambda item: len(item[1]))
    client = make_client()
    for offset in (1, 1_000_000, len(content) - 1):
        stream = client.fetch_blob(plain.host, "team/app", digest, len(content), offset)
        assert stream.ranged
        assert b"".join(stream) == content[offset:]
    part = client.fetch_blob(plain.host, "team/app", digest, len(content), 5, end=700_000)
    assert b"".join(part) == content[5:700_000]
    client.close()

    def sizes() -> list[int]:
        """An answer is in the log a moment after it has come."""
        return [one.size for one in plain.served("GET", digest) if one.status == 206]

    wait_until("all are in the log", lambda: len(sizes()) >= 4)
    assert sizes() == [len(content) - 1, len(content) - 1_000_000, 1, 700_000 - 5]


def test_a_wrong_offset_does_not_hang(plain, image, make_client):
    """Its 416 states a length that never arrives."""
    digest, content = max(image.blobs.items(), key=lambda item: len(item[1]))
    size = len(content)
    with pytest.raises(BadContentError, match=f"has {size} bytes, not {size + 10}"):
        make_client().fetch_blob(plain.host, "team/app", digest, size + 10, size + 5)


def test_tags_and_catalogue(plain, image, make_client):
    push_with_skopeo(image, plain.host, "team/other")
    client = make_client()
    assert client.tags(plain.host, "team/other") == ["v1"]
    assert set(client.catalog(plain.host)) >= {"team/app", "team/other"}
    with pytest.raises(NotFoundError, match="tags of team/none"):
        client.tags(plain.host, "team/none")


def test_referrers_without_the_api(plain, image, make_client):
    assert make_client().referrers(plain.host, "team/app", image.digest) == []


def test_what_does_not_exist(plain, make_client):
    client = make_client()
    with pytest.raises(NotFoundError, match="MANIFEST_UNKNOWN"):
        client.resolve(plain.host, "team/app", "v2")
    with pytest.raises(NotFoundError, match="BLOB_UNKNOWN"):
        client.fetch_blob(plain.host, "team/app", "sha256:" + "0" * 64, 5)


def test_a_registry_that_has_ended(tmp_path, make_client):
    with Registry(tmp_path / "registry") as registry:
        make_client().ping(registry.host)
    with pytest.raises(NotReachableError, match="connection refused; is it running"):
        make_client().ping(registry.host)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, image):
    with Registry(tmp_path_factory.mktemp("guarded"), htpasswd={"anna": "s3cret-word"}) as registry:
        push_with_skopeo(image, registry.host, "team/app", "anna:s3cret-word")
        yield registry


def test_htpasswd(guarded, image, make_client):
    check_pull(make_client(GivenLogin(guarded.host, LOGIN)), guarded.host, image)


def test_a_docker_config_written_by_skopeo(guarded, image, make_client, tmp_path):
    path = tmp_path / "config.json"
    subprocess.run(
        ["skopeo", "login", "--tls-verify=false", "--authfile", str(path), "-u", "anna", "--password-stdin",
         guarded.host],
        input=b"s3cret-word", check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    check_pull(make_client(DockerConfig(path)), guarded.host, image)


def test_a_wrong_or_missing_password(guarded, make_client):
    with pytest.raises(PermissionDeniedError, match="log in first"):
        make_client().resolve(guarded.host, "team/app", "v1")
    wrong = make_client(GivenLogin(guarded.host, Login("anna", "wr0ng-word")))
    with pytest.raises(PermissionDeniedError) as caught:
        wrong.resolve(guarded.host, "team/app", "v1")
    assert "wr0ng-word" not in str(caught.value)


@pytest.fixture(scope="module")
def secure(tmp_path_factory, image):
    certificates = make_certificates(tmp_path_factory.mktemp("certificates"))
    with Registry(tmp_path_factory.mktemp("secure"), {"anna": "s3cret-word"}, certificates) as registry:
        push_with_skopeo(image, registry.host, "team/app", "anna:s3cret-word")
        yield registry, certificates


def hosts_directory(path, registry, more):
    folder = path / registry.host
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "{registry.url}"\n{more}\n')
    return path


def test_tls_with_a_private_ca(secure, image, make_client, tmp_path):
    registry, certificates = secure
    directory = hosts_directory(tmp_path, registry, f'ca = "{certificates.ca}"')
    check_pull(make_client(GivenLogin(registry.host, LOGIN), directory), registry.host, image)


def test_tls_without_its_ca_is_refused(secure, make_client, tmp_path):
    registry, _ = secure
    directory = hosts_directory(tmp_path, registry, "")
    with pytest.raises(FailedPreconditionError, match="is not trusted"):
        make_client(GivenLogin(registry.host, LOGIN), directory).resolve(registry.host, "team/app", "v1")


def test_tls_unverified_where_that_is_configured(secure, image, make_client, tmp_path):
    registry, _ = secure
    directory = hosts_directory(tmp_path, registry, "skip_verify = true")
    check_pull(make_client(GivenLogin(registry.host, LOGIN), directory), registry.host, image)


def test_a_mirror_serves_and_the_registry_fills_in(plain, guarded, image, make_client, tmp_path):
    """The mirror lacks what the registry has, and never sees the registry's login."""
    folder = tmp_path / guarded.host
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "{guarded.url}"\n[host."{plain.url}"]\n')
    push_with_skopeo(image, guarded.host, "team/only-here", "anna:s3cret-word")
    client = make_client(GivenLogin(guarded.host, LOGIN), tmp_path)
    before = len(guarded.served(path="/team/app/"))
    check_pull(client, guarded.host, image)
    assert len(guarded.served(path="/team/app/")) == before
    assert client.resolve(guarded.host, "team/only-here", "v1").digest == image.digest
