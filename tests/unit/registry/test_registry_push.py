import json
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.scripted_registry import OCI_MANIFEST, Answer, ScriptedRegistry, digest_of
from tests.scripted_uploads import Uploads
from transport.registry.client import RegistryClient
from transport.registry.credentials import GivenLogin, Login, NoCredentials
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from transport.registry.hosts import Hosts

BODY = random.Random(9).randbytes(100_000)  # noqa: S311 - content, not a secret
DIGEST = digest_of(BODY)
UPLOADS = "/v2/a/b/blobs/uploads/"
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()


def content(offset, body=BODY):
    """In pieces of odd length, as a file may be read."""
    for start in range(offset, len(body), 7919):
        yield body[start : start + 7919]


@pytest.fixture
def uploads(registry):
    return Uploads(registry)


@pytest.fixture
def destination(client, registry):
    return client.destination(registry.host, "a/b")


def test_a_blob_in_one_request(registry, uploads, destination):
    assert destination.put_blob(DIGEST, len(BODY), content)
    assert uploads.stored == {DIGEST: BODY}
    post, put = registry.asked
    assert post.headers["content-length"] == "0"
    assert put.headers["content-length"] == str(len(BODY))
    assert put.path == f"/upload/x?state=1%2F=&digest={DIGEST}"


def test_an_empty_blob(registry, uploads, destination):
    registry.on("POST", UPLOADS, lambda _: uploads.place(202))
    empty = digest_of(b"")
    assert destination.put_blob(empty, 0, lambda _: [])
    assert uploads.stored == {empty: b""}


@pytest.mark.parametrize("location", ["http://%s/upload/x?a=b", "/upload/x", "../../../../../upload/x?a=b"])
def test_locations_of_every_form(registry, uploads, destination, location):
    seen = []
    where = location % registry.host if "%s" in location else location
    registry.on("POST", UPLOADS, Answer(202, headers={"Location": where}))
    registry.on("PUT", "/upload/x", lambda asked: seen.append(asked.path) or Answer(201))
    destination.put_blob(DIGEST, len(BODY), content)
    mark = "&" if "?" in where else "?"
    query = "a=b" if "?" in where else ""
    assert seen == [f"/upload/x{'?' if query else ''}{query}{mark}digest={DIGEST}"]


def test_a_small_blob_in_a_single_post(registry, destination):
    small = b"{}"
    registry.on("POST", UPLOADS, Answer(201, headers={"Location": "/x"}))
    assert destination.put_blob(digest_of(small), 2, lambda _: [small])
    [asked] = registry.asked
    assert asked.body == small
    assert asked.path.endswith(f"?digest={digest_of(small).replace(':', '%3A')}")


def test_a_single_post_that_is_only_the_beginning(registry, uploads, destination):
    small = b"{}"
    assert destination.put_blob(digest_of(small), 2, lambda _: [small])
    assert uploads.stored == {digest_of(small): small}


def test_a_mount_sends_nothing(registry, destination):
    registry.on("POST", UPLOADS, Answer(201, headers={"Location": "/x"}))
    assert not destination.put_blob(DIGEST, len(BODY), content, mount_from="base/image")
    [asked] = registry.asked
    assert asked.path == f"{UPLOADS}?mount={DIGEST.replace(':', '%3A')}&from=base%2Fimage"
    assert asked.body == b""


def test_a_mount_that_is_declined_becomes_an_upload(registry, uploads, destination):
    assert destination.put_blob(DIGEST, len(BODY), content, mount_from="base/image")
    assert uploads.stored == {DIGEST: BODY}
    assert len(registry.requests("POST")) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
@pytest.mark.parametrize("body", [BODY, b"{}"])
def test_a_mount_that_is_refused_becomes_an_upload(registry, uploads, destination, status, body):
    """Where it is mounted from is a guess: the repository may not be there, or not be ours to read."""

    def post(asked):
        return Answer(status) if "mount=" in asked.path else uploads.place(202)

    registry.on("POST", UPLOADS, post)
    assert destination.put_blob(digest_of(body), len(body), lambda at: [body[at:]], mount_from="not/ours")
    assert uploads.stored == {digest_of(body): body}


def test_a_mount_for_which_there_is_no_token_becomes_an_upload(registry, uploads, other, make_client):
    """Some token servers refuse all when they refuse one scope."""

    def token(asked):
        return Answer(403) if "not/ours" in asked.path else Answer(200, b'{"token": "t"}')

    def post(asked):
        if asked.headers.get("authorization") == "Bearer t":
            return uploads.place(202)
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'})

    other.on("GET", "/token", token)
    registry.on("POST", UPLOADS, post)
    client = make_client(GivenLogin(registry.host, Login("anna", "s3cret-word")))
    destination = client.destination(registry.host, "a/b")
    assert destination.put_blob(DIGEST, len(BODY), content, mount_from="not/ours")
    assert uploads.stored == {DIGEST: BODY}


def test_chunks(registry, uploads, destination):
    destination.put_blob(DIGEST, len(BODY), content, chunk=30_000)
    assert uploads.stored == {DIGEST: BODY}
    ranges = [asked.headers["content-range"] for asked in registry.requests("PATCH")]
    assert ranges == ["0-29999", "30000-59999", "60000-89999", "90000-99999"]


def test_chunks_are_as_large_as_the_registry_wants(registry, client):
    uploads = Uploads(registry, **{"OCI-Chunk-Min-Length": "45000"})
    client.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content, chunk=10)
    ranges = [asked.headers["content-range"] for asked in registry.requests("PATCH")]
    assert ranges == ["0-44999", "45000-89999", "90000-99999"]
    assert uploads.stored == {DIGEST: BODY}


def test_chunks_of_absurd_size_are_refused(registry, client):
    Uploads(registry, **{"OCI-Chunk-Min-Length": str(1 << 40)})
    with pytest.raises(BadContentError, match="wants chunks of"):
        client.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content, chunk=10)


@settings(max_examples=25, deadline=None)
@example(9_000, [(416, 1)])  # of which its range says what it says of none
@example(9_000, [(503, 1), (416, 0)])
@given(
    st.integers(9_000, 120_000),
    st.lists(st.tuples(st.sampled_from([416, 503, 429]), st.integers(0, 5000)), max_size=4),
)
def test_chunks_go_on_where_the_registry_says(chunk, setbacks):
    with ScriptedRegistry() as registry:
        uploads = Uploads(registry)
        uploads.refuse = [Answer(status) for status, _ in setbacks]
        uploads.keep = [kept for _, kept in setbacks]
        client = RegistryClient(Hosts(), NoCredentials(), "actord-test")
        client.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content, chunk=chunk)
        assert uploads.stored == {DIGEST: BODY}
        client.close()


@pytest.mark.parametrize("status", [416, 503])
def test_a_registry_that_takes_nothing_is_given_up(registry, uploads, destination, status):
    uploads.refuse = [Answer(status) for _ in range(50)]
    with pytest.raises(UnavailableError):
        destination.put_blob(DIGEST, len(BODY), content, chunk=10_000)
    assert len(registry.requests("PATCH")) <= 6
    assert len(registry.requests("DELETE")) == 1


def test_a_registry_that_claims_too_much_is_refused(registry, uploads, destination):
    claim = {"Location": "/upload/x?state=2", "Range": "0-999999"}
    registry.on("PATCH", "/upload/x", Answer(202, headers=claim))
    with pytest.raises(BadContentError, match="claims 1000000 of 100000"):
        destination.put_blob(DIGEST, len(BODY), content, chunk=10_000)


def test_a_refused_blob_is_cancelled(registry, uploads, destination):
    with pytest.raises(InvalidArgumentError, match="DIGEST_INVALID"):
        destination.put_blob(digest_of(b"other"), len(BODY), content)
    assert len(registry.requests("DELETE", "/upload/x")) == 1


def test_content_that_is_too_short_is_an_error_of_ours(registry, uploads, destination):
    with pytest.raises(FailedPreconditionError, match="1 bytes shorter"):
        destination.put_blob(DIGEST, len(BODY) + 1, content)
    assert not uploads.stored


def test_content_that_is_too_long_is_not_sent(uploads, destination):
    head = digest_of(BODY[:50_000])
    destination.put_blob(head, 50_000, content)
    assert uploads.stored == {head: BODY[:50_000]}


def test_has_blob_and_has_manifest(registry, destination):
    registry.on("HEAD", f"/v2/a/b/blobs/{DIGEST}", Answer(200, BODY))
    registry.on("HEAD", "/v2/a/b/manifests/one", Answer(200), Answer(503))
    assert destination.has_blob(DIGEST)
    assert not destination.has_blob(digest_of(b"other"))
    assert destination.has_manifest("one")
    with pytest.raises(UnavailableError):
        destination.has_manifest("one")


def test_a_manifest(registry, destination):
    registry.on("PUT", "/v2/a/b/manifests/one", Answer(201, headers={"OCI-Subject": DIGEST}))
    done = destination.put_manifest("one", OCI_MANIFEST, MANIFEST)
    assert (done.digest, done.subject) == (digest_of(MANIFEST), DIGEST)
    [asked] = registry.asked
    assert asked.headers["content-type"] == OCI_MANIFEST
    assert asked.body == MANIFEST


def test_a_manifest_that_the_registry_changed_is_refused(registry, destination):
    registry.on("PUT", "/v2/a/b/manifests/one", Answer(201, headers={"Docker-Content-Digest": DIGEST}))
    with pytest.raises(BadContentError, match="was stored as"):
        destination.put_manifest("one", OCI_MANIFEST, MANIFEST)


def test_a_manifest_is_checked_before_it_is_sent(registry, destination):
    with pytest.raises(InvalidArgumentError):
        destination.put_manifest("one", OCI_MANIFEST, b" " * ((4 << 20) + 1))
    with pytest.raises(InvalidArgumentError):
        destination.put_manifest(DIGEST, OCI_MANIFEST, MANIFEST)
    assert not registry.asked


def test_deleting(registry, destination):
    registry.on("DELETE", f"/v2/a/b/manifests/{DIGEST}", Answer(202), Answer(405))
    registry.on("DELETE", f"/v2/a/b/blobs/{DIGEST}", Answer(202), Answer(404))
    destination.delete_manifest(DIGEST)
    destination.delete_blob(DIGEST)
    with pytest.raises(FailedPreconditionError):
        destination.delete_manifest(DIGEST)
    with pytest.raises(NotFoundError):
        destination.delete_blob(DIGEST)


def test_scopes_ask_for_push_and_for_the_source_of_a_mount(registry, other, make_client):
    def guarded(asked):
        if asked.headers.get("authorization") == "Bearer t1":
            return Answer(201)
        return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'})

    registry.on("POST", UPLOADS, guarded)
    other.on("GET", "/token", Answer(200, b'{"token": "t1"}'))
    client = make_client(GivenLogin(registry.host, Login("anna", "word")))
    client.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content, mount_from="c")
    assert other.asked[0].path == "/token?scope=repository:a/b:pull,push&scope=repository:c:pull"


def test_an_upload_elsewhere_gets_no_credentials_and_its_challenges_no_answer(registry, other, logged_in):
    def guarded(asked):
        if "authorization" in asked.headers:
            return Answer(202, headers={"Location": f"{other.url}/upload"})
        return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    registry.on("POST", UPLOADS, guarded)
    other.on("PUT", "/upload", Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'}))
    with pytest.raises(PermissionDeniedError):
        logged_in.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content)
    assert {asked.path.partition("?")[0] for asked in other.asked} == {"/upload"}
    assert all("authorization" not in asked.headers for asked in other.asked)


@pytest.mark.parametrize("chunk", [None, 30_000])
def test_a_token_that_ends_during_an_upload_is_replaced(registry, uploads, other, client, chunk):
    """What a file holds can be sent again, unlike what comes out of a pipe."""
    current, count = "", 0

    def token(_):
        nonlocal current, count
        count += 1
        current = f"t{count}"
        return Answer(200, json.dumps({"token": current, "expires_in": 300}).encode())

    def guarded(route):
        def answer(asked):
            nonlocal current
            if asked.headers.get("authorization") != f"Bearer {current}":
                return Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'})
            current = "ended"
            return route(asked)

        return answer

    for method, path in list(registry.routes):
        registry.on(method, path, guarded(registry.routes[method, path][0]))
    other.on("GET", "/token", token)
    assert client.destination(registry.host, "a/b").put_blob(DIGEST, len(BODY), content, chunk=chunk)
    assert uploads.stored == {DIGEST: BODY}
