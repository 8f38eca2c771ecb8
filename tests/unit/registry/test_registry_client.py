import hashlib
import json
import socket
import threading
import traceback

import pytest

from tests.scripted_registry import OCI_INDEX, OCI_MANIFEST, Answer, digest_of
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    NotReachableError,
    PermissionDeniedError,
    RegistryError,
    UnavailableError,
)
from transport.registry.retry import persist

MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": []}).encode()
UNTYPED = b'{"schemaVersion": 2}'
PATH = "/v2/a/b/manifests/one"
FULL_HEADERS = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": digest_of(MANIFEST)}
OTHER_DIGEST = "sha256:" + "0" * 64


def manifest_answer(body=MANIFEST, content_type=OCI_MANIFEST, digest=None, **more):
    headers = {"Content-Type": content_type} if content_type else {}
    if digest:
        headers["Docker-Content-Digest"] = digest
    return Answer(200, body, headers, **more)


def test_head_is_enough_to_resolve(registry, client):
    digest = registry.add_manifest("a/b", MANIFEST, "one")
    found = client.resolve(registry.host, "a/b", "one")
    assert (found.digest, found.media_type, found.size, found.body) == (
        digest, OCI_MANIFEST, len(MANIFEST), None,
    )  # fmt: skip
    [asked] = registry.asked
    assert asked.method == "HEAD"
    assert OCI_INDEX in asked.headers["accept"]
    assert "manifest.list.v2+json" in asked.headers["accept"]
    assert asked.headers["user-agent"] == "actord-test"


@pytest.mark.parametrize(
    "head",
    [
        Answer(405),
        Answer(404),
        Answer(400),
        Answer(501),
        Answer(200, MANIFEST, {"Content-Type": OCI_MANIFEST}),
        Answer(200, b"", FULL_HEADERS, length=None),
        Answer(200, MANIFEST, {"Docker-Content-Digest": digest_of(MANIFEST)}),
        Answer(200, MANIFEST, {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": "md5:1"}),
    ],
)
def test_a_head_that_says_too_little_is_followed_by_get(registry, client, head):
    registry.on("HEAD", PATH, head)
    registry.on("GET", PATH, manifest_answer())
    found = client.resolve(registry.host, "a/b", "one")
    assert (found.digest, found.size, found.body) == (digest_of(MANIFEST), len(MANIFEST), MANIFEST)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, PermissionDeniedError), (403, PermissionDeniedError), (429, UnavailableError)]
)
def test_a_head_that_is_refused_is_not_followed_by_get(registry, client, status, kind):
    registry.on("HEAD", PATH, Answer(status))
    with pytest.raises(kind):
        client.resolve(registry.host, "a/b", "one")
    assert not registry.requests("GET")


def test_what_does_not_exist_is_not_found(registry, client):
    with pytest.raises(NotFoundError, match=r"manifest one of a/b at .* not found .*NAME_UNKNOWN"):
        client.resolve(registry.host, "a/b", "one")


def test_a_head_by_digest_with_another_digest_is_refused(registry, client):
    digest = digest_of(MANIFEST)
    registry.on("HEAD", f"/v2/a/b/manifests/{digest}", manifest_answer(digest=OTHER_DIGEST))
    with pytest.raises(BadContentError, match="answered with digest"):
        client.resolve(registry.host, "a/b", digest)


def test_a_head_with_a_huge_length_is_refused(registry, client):
    registry.on("HEAD", PATH, manifest_answer(digest=OTHER_DIGEST, length=5 << 20))
    with pytest.raises(BadContentError, match="4 MiB"):
        client.resolve(registry.host, "a/b", "one")


def test_a_manifest_by_digest_is_verified(registry, client):
    digest = registry.add_manifest("a/b", MANIFEST)
    assert client.fetch_manifest(registry.host, "a/b", digest).body == MANIFEST
    registry.on("GET", f"/v2/a/b/manifests/{digest}", manifest_answer(MANIFEST + b" "))
    with pytest.raises(BadContentError, match="content with digest"):
        client.fetch_manifest(registry.host, "a/b", digest)


def test_sha512_is_verified_too(registry, client):
    digest = "sha512:" + hashlib.sha512(MANIFEST).hexdigest()
    registry.on("GET", f"/v2/a/b/manifests/{digest}", manifest_answer())
    assert client.fetch_manifest(registry.host, "a/b", digest).digest == digest


def test_the_digest_header_of_a_tag_must_be_true(registry, client):
    registry.on("GET", PATH, manifest_answer(digest=OTHER_DIGEST))
    with pytest.raises(BadContentError, match="content with digest"):
        client.fetch_manifest(registry.host, "a/b", "one")


@pytest.mark.parametrize("length", [-1, None])
def test_a_manifest_is_at_most_four_mebibytes(registry, client, length):
    fitting = UNTYPED + b" " * ((4 << 20) - len(UNTYPED))
    registry.on(
        "GET", PATH, manifest_answer(fitting, length=length), manifest_answer(fitting + b" ", length=length)
    )
    assert client.fetch_manifest(registry.host, "a/b", "one").size == 4 << 20
    with pytest.raises(BadContentError, match="larger than"):
        client.fetch_manifest(registry.host, "a/b", "one")


def test_an_endless_manifest_is_given_up(registry, client):
    registry.on("GET", PATH, manifest_answer(b"x" * 65536, endless=True))
    with pytest.raises(BadContentError, match="larger than"):
        client.fetch_manifest(registry.host, "a/b", "one")


@pytest.mark.parametrize(
    ("body", "content_type", "media_type"),
    [
        (MANIFEST, OCI_MANIFEST, OCI_MANIFEST),
        (MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (MANIFEST, f"{OCI_MANIFEST.upper()}", OCI_MANIFEST),
        (UNTYPED, OCI_INDEX, OCI_INDEX),
        (MANIFEST, None, OCI_MANIFEST),
        (MANIFEST, "application/json", OCI_MANIFEST),
        (MANIFEST, "text/plain; charset=utf-8", OCI_MANIFEST),
    ],
)
def test_media_types(registry, client, body, content_type, media_type):
    registry.on("GET", PATH, manifest_answer(body, content_type))
    assert client.fetch_manifest(registry.host, "a/b", "one").media_type == media_type


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (MANIFEST, OCI_INDEX, "was announced as"),
        (b'{"mediaType": 5}', OCI_INDEX, "was announced as"),
        (UNTYPED, None, "names a media type"),
        (UNTYPED, "application/json", "names a media type"),
        (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (b'{"schemaVersion": 1}', "application/json", "schema 1"),
        (b"<html>", OCI_MANIFEST, "no valid JSON"),
        (b"\xff\xfe", OCI_MANIFEST, "no valid JSON"),
        (b"[" * 200_000, OCI_MANIFEST, "no valid JSON"),
        (b'{"mediaType": "a", "mediaType": "b"}', OCI_MANIFEST, "no valid JSON"),
        (b"[]", OCI_MANIFEST, "no object"),
    ],
)
def test_contradictions_and_nonsense_are_refused(registry, client, body, content_type, text):
    registry.on("GET", PATH, manifest_answer(body, content_type))
    with pytest.raises(BadContentError, match=text):
        client.fetch_manifest(registry.host, "a/b", "one")


def test_with_a_descriptor_its_type_is_trusted_over_the_servers(registry, client):
    digest = digest_of(MANIFEST)
    registry.on("GET", f"/v2/a/b/manifests/{digest}", manifest_answer(content_type="text/html"))
    assert client.fetch_manifest(registry.host, "a/b", digest, OCI_MANIFEST).media_type == OCI_MANIFEST
    with pytest.raises(BadContentError, match="was announced as"):
        client.fetch_manifest(registry.host, "a/b", digest, OCI_INDEX)


def test_a_compressed_manifest_is_refused(registry, client):
    answer = manifest_answer()
    answer.headers["Content-Encoding"] = "gzip"
    registry.on("GET", PATH, answer)
    with pytest.raises(BadContentError, match="content encoding"):
        client.fetch_manifest(registry.host, "a/b", "one")
    assert registry.asked[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("repository", ["", "A", "a/../b", "/a", "a//b", "a b", "a?x=1", "é", "a" * 256])
def test_malformed_repositories_are_refused(registry, client, repository):
    with pytest.raises(InvalidArgumentError, match="malformed"):
        client.resolve(registry.host, repository, "one")


@pytest.mark.parametrize(
    "reference", ["", "a/b", "../x", "a b", "sha256:12", "x" * 129, "sha256:" + "A" * 64]
)
def test_malformed_references_are_refused(registry, client, reference):
    with pytest.raises(InvalidArgumentError):
        client.fetch_manifest(registry.host, "a/b", reference)
    assert not registry.asked


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, InvalidArgumentError, False),
        (403, PermissionDeniedError, False),
        (404, NotFoundError, False),
        (405, FailedPreconditionError, False),
        (408, UnavailableError, True),
        (429, UnavailableError, True),
        (500, UnavailableError, True),
        (503, UnavailableError, True),
        (599, UnavailableError, True),
        (204, BadContentError, False),
    ],
)
def test_each_status_has_its_kind_of_error(registry, client, status, kind, retryable):
    registry.on("GET", PATH, Answer(status, headers={"Retry-After": "3"}))
    with pytest.raises(kind) as caught:
        client.fetch_manifest(registry.host, "a/b", "one")
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable
    assert f"status {status}" in str(caught.value)


def test_what_a_registry_says_is_shown_short_and_printable(registry, client):
    said = {"errors": [{"code": "TOO\x1b[31mMANY", "message": "x\n" * 5000}]}
    registry.on("GET", PATH, Answer(400, json.dumps(said).encode()))
    with pytest.raises(InvalidArgumentError) as caught:
        client.fetch_manifest(registry.host, "a/b", "one")
    assert "TOO [31mMANY" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_429_carries_how_long_to_wait_and_then_it_works(registry, client):
    registry.on("GET", PATH, Answer(429, headers={"Retry-After": "2"}), manifest_answer())
    waits = []
    found = persist(lambda: client.fetch_manifest(registry.host, "a/b", "one"), waits.append)
    assert found.body == MANIFEST
    assert len(waits) == 1
    assert 1 < waits[0] <= 3


def test_nobody_listening_is_said_clearly(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(NotReachableError) as caught:
        client.resolve(host, "a/b", "one")
    assert str(caught.value) == f"registry {host} is not reachable: connection refused; is it running?"
    assert caught.value.code == "unavailable"
    assert caught.value.retryable
    assert "urllib3" not in "".join(traceback.format_exception(caught.value))


def test_a_name_that_does_not_resolve_is_said_clearly(client):
    with pytest.raises(NotReachableError, match="does not resolve"):
        client.resolve("registry.invalid", "a/b", "one")


def test_silence_ends_with_the_read_timeout(registry, make_client):
    registry.on("GET", PATH, manifest_answer(length=len(MANIFEST) + 1, stall=True))
    with pytest.raises(UnavailableError, match="sent nothing for too long"):
        make_client(read_timeout=0.3).fetch_manifest(registry.host, "a/b", "one")


def test_no_http_at_all(client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        listener.settimeout(10)

        def talk():
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(UnavailableError, match=r"HTTP|broke"):
            client.fetch_manifest(host, "a/b", "one")
        thread.join()


def test_mirrors_are_asked_first_and_the_registry_when_they_fail(registry, other, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(
        f'[host."{other.url}"]\ncapabilities = ["pull"]\n[host."{other.url}".header]\nX-Team = "blue"\n'
    )
    client = make_client(directories=[tmp_path])
    digest = registry.add_manifest("a/b", MANIFEST, "one")
    other.on("GET", f"/v2/a/b/manifests/{digest}", manifest_answer(b"{}"))
    assert client.resolve(registry.host, "a/b", "one").digest == digest
    assert not other.asked
    assert client.fetch_manifest(registry.host, "a/b", digest).body == MANIFEST
    [asked] = other.asked
    assert asked.path.endswith(f"?ns={registry.host.replace(':', '%3A')}")
    assert asked.headers["x-team"] == "blue"
    assert all("ns=" not in asked.path and "x-team" not in asked.headers for asked in registry.asked)


def test_no_server_with_the_capability(registry, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text('capabilities = ["pull"]')
    with pytest.raises(FailedPreconditionError, match="no server may be used to resolve"):
        make_client(directories=[tmp_path]).resolve(registry.host, "a/b", "one")


def test_ping(registry, client):
    registry.on("GET", "/v2/", Answer(200, b"{}"))
    client.ping(registry.host)
    registry.on("GET", "/v2/", Answer(404))
    with pytest.raises(RegistryError):
        client.ping(registry.host)
