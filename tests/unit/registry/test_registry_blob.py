import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripted_registry import Answer, ScriptedRegistry, digest_of
from transport.registry.blob import CHUNK, BlobStream, Pace, Span
from transport.registry.client import RegistryClient
from transport.registry.credentials import NoCredentials
from transport.registry.errors import (
    BadContentError,
    CutError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
)
from transport.registry.hosts import Hosts

BODY = random.Random(7).randbytes(1_000_000)  # noqa: S311 - content, not a secret
DIGEST = digest_of(BODY)
PATH = f"/v2/a/b/blobs/{DIGEST}"
SIZE = len(BODY)


def fetch(client, registry, offset=0, **more):
    return client.fetch_blob(registry.host, "a/b", DIGEST, SIZE, offset, **more)


def content(stream):
    return b"".join(stream)


def content_until_cut(stream):
    """What came, and the error that ended it; None if nothing did."""
    received = b""
    try:
        for chunk in stream:
            received += chunk
    except CutError as error:
        return received, error
    return received, None


def part(first, last, total=SIZE, body=None, **more):
    sent = BODY[first : last + 1] if body is None else body
    return Answer(206, sent, {"Content-Range": f"bytes {first}-{last}/{total}"}, **more)


def test_a_blob_comes_in_large_chunks_without_a_range(registry, client):
    registry.add_blob("a/b", BODY)
    chunks = list(fetch(client, registry))
    assert b"".join(chunks) == BODY
    assert all(len(chunk) >= CHUNK for chunk in chunks[:-1])
    assert "range" not in registry.asked[0].headers


class Dripping:
    """Brings a hundred bytes a second, by a clock of its own."""

    status, authority = 200, "example.org"

    def __init__(self):
        self.now = 0.0

    def piece(self, most):
        self.now += 0.3
        return bytes(min(30, most))

    def close(self):
        pass


def test_who_reads_what_drips_may_look_at_something_else_now_and_then():
    source = Dripping()
    pace = Pace(clock=lambda: source.now)
    with BlobStream(source, Span(0, 1000, 1000), 0, "blob", pace, "example.org") as stream:
        chunks = list(stream)
    assert sum(map(len, chunks)) == 1000
    assert len(chunks) == 9


@pytest.mark.parametrize("offset", [1, 65_537, SIZE - 1])
@pytest.mark.parametrize("ranges", [True, False])
def test_any_offset_with_or_without_ranges(registry, client, offset, ranges):
    registry.add_blob("a/b", BODY, ranges=ranges)
    stream = fetch(client, registry, offset)
    assert stream.ranged is ranges
    assert content(stream) == BODY[offset:]
    assert stream.offset == SIZE
    assert registry.asked[0].headers["range"] == f"bytes={offset}-{SIZE - 1}"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_in_the_middle(registry, client, ranges):
    registry.add_blob("a/b", BODY, ranges=ranges)
    for start, end in ((0, 10), (300_000, 900_000), (5, 6)):
        stream = fetch(client, registry, start, end=end)
        assert content(stream) == BODY[start:end]
        assert stream.ranged is ranges


def test_nothing_left_is_not_asked_for(registry, client):
    assert content(fetch(client, registry, SIZE)) == b""
    assert not registry.asked


@pytest.mark.parametrize(("offset", "end"), [(-1, None), (SIZE + 1, None), (5, 4), (0, SIZE + 1)])
def test_ranges_that_are_none(registry, client, offset, end):
    with pytest.raises(InvalidArgumentError):
        fetch(client, registry, offset, end=end)


def test_416_starts_over_without_waiting_for_its_body(registry, client):
    registry.on("GET", PATH, Answer(416, b"short", length=500, stall=True), Answer(200, BODY))
    assert content(fetch(client, registry, 700_000)) == BODY[700_000:]
    assert "range" not in registry.asked[1].headers


def test_a_blob_that_is_missing(registry, client):
    with pytest.raises(NotFoundError, match=DIGEST):
        fetch(client, registry, 5)


@pytest.mark.parametrize(
    "answer",
    [
        part(0, SIZE - 1),
        part(101, SIZE - 1),
        part(100, SIZE - 1, total=SIZE + 1),
        part(100, SIZE, body=BODY[100:] + b"x"),
        part(100, 99, body=b""),
        part(100, 200, body=BODY[100:190]),
        Answer(206, BODY[100:]),
        Answer(206, BODY[100:], {"Content-Range": "bytes 100-"}),
        Answer(206, BODY[100:], {"Content-Range": "bytes */1000000"}),
        Answer(206, BODY[100:], {"Content-Type": "multipart/byteranges; boundary=x"}),
    ],
)
def test_a_part_that_is_not_what_was_asked_for_is_refused(registry, client, answer):
    registry.on("GET", PATH, answer)
    with pytest.raises(BadContentError):
        fetch(client, registry, 100)


def test_a_part_that_nobody_asked_for_is_refused(registry, client):
    registry.on("GET", PATH, part(0, SIZE - 1))
    with pytest.raises(BadContentError):
        fetch(client, registry)


def test_a_shorter_part_than_asked_for_is_taken_and_reported_as_cut(registry, client):
    registry.on("GET", PATH, part(100, 499_999))
    received, error = content_until_cut(fetch(client, registry, 100))
    assert received == BODY[100:500_000]
    assert error.received == 500_000


def test_a_part_of_unknown_total(registry, client):
    registry.on("GET", PATH, part(100, SIZE - 1, total="*", chunked=True))
    assert content(fetch(client, registry, 100)) == BODY[100:]


@pytest.mark.parametrize("length", [SIZE - 1, SIZE + 1, 0])
@pytest.mark.parametrize("offset", [0, 5])
def test_another_length_than_the_descriptors_is_refused(registry, client, length, offset):
    registry.on("GET", PATH, Answer(200, BODY, length=length))
    with pytest.raises(BadContentError, match=f"has {length} bytes, not {SIZE}"):
        fetch(client, registry, offset)


@pytest.mark.parametrize("how", [{"length": None}, {"chunked": True}])
def test_a_missing_length_is_fine(registry, client, how):
    registry.on("GET", PATH, Answer(200, BODY, **how))
    assert content(fetch(client, registry)) == BODY


@pytest.mark.parametrize("how", [{"endless": True}, {"chunked": True}, {"length": None}])
def test_a_body_without_end_is_read_up_to_the_descriptors_size(registry, client, how):
    registry.on("GET", PATH, Answer(200, BODY * 3, **how))
    assert content(fetch(client, registry)) == BODY
    registry.on("GET", PATH, part(10, SIZE - 1, body=BODY[10:] * 3, **how))
    assert content(fetch(client, registry, 10)) == BODY[10:]


def test_content_is_never_decoded(registry, client):
    registry.on("GET", PATH, Answer(200, BODY, {"Content-Encoding": "gzip"}))
    assert content(fetch(client, registry)) == BODY


@pytest.mark.parametrize("how", [{}, {"length": None}, {"chunked": True}])
def test_a_cut_says_how_far_it_came_and_loses_nothing(registry, client, how):
    registry.on("GET", PATH, Answer(200, BODY, cut_after=600_001, **how))
    stream = fetch(client, registry)
    received, error = content_until_cut(stream)
    assert received == BODY[:600_001]
    assert "broke off at byte 600001" in str(error)
    assert (error.received, error.retryable, error.code) == (600_001, True, "unavailable")
    with pytest.raises(CutError):
        next(stream)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, SIZE), min_size=1, max_size=6), st.booleans())
def test_cut_anywhere_and_resumed_it_is_whole_and_nothing_comes_twice(cuts, chunked):
    with ScriptedRegistry() as registry:
        client = RegistryClient(Hosts(), NoCredentials(), "actord-test")
        left = list(cuts)

        def answer(asked):
            start = int(asked.headers.get("range", "bytes=0-")[6:].split("-")[0])
            how = {"cut_after": left.pop(0)} if left else {}
            if start:
                return part(start, SIZE - 1, chunked=chunked, **how)
            return Answer(200, BODY, chunked=chunked, **how)

        registry.on("GET", PATH, answer)
        received = bytearray()
        while len(received) < SIZE:
            stream = fetch(client, registry, len(received))
            more, error = content_until_cut(stream)
            received += more
            assert error is None or error.received == len(received)
        assert received == BODY
        assert len(registry.asked) <= len(cuts) + 1
        client.close()


def test_silence_in_the_middle_is_a_cut(registry, make_client):
    registry.on("GET", PATH, Answer(200, BODY[:300_000], length=SIZE, stall=True))
    received, error = content_until_cut(fetch(make_client(read_timeout=0.3), registry))
    assert received == BODY[:300_000]
    assert "sent nothing for too long" in str(error)


def test_a_steady_drip_is_given_up(registry):
    """A clock that the drip itself advances: one second for each byte."""
    now = [0.0]

    def beat():
        now[0] += 1

    registry.beat = beat
    registry.on("GET", PATH, Answer(200, BODY, drip=1))
    pace = Pace(window=30, least=1000, clock=lambda: now[0])
    client = RegistryClient(Hosts(), NoCredentials(), "actord-test", pace=pace)
    with pytest.raises(CutError, match="too slowly") as caught:
        content(fetch(client, registry))
    assert caught.value.received < 100_000
    client.close()


def test_connections_are_kept_between_blobs(registry, client):
    registry.add_blob("a/b", BODY)
    for offset in (0, 5, 700_000):
        content(fetch(client, registry, offset))
    assert len(registry._server.connections) == 1


def test_a_stream_closed_early_ends_its_connection(registry, client):
    registry.add_blob("a/b", BODY * 20)
    digest = digest_of(BODY * 20)
    with client.fetch_blob(registry.host, "a/b", digest, SIZE * 20) as stream:
        chunk = next(stream)
    assert (BODY * 20).startswith(chunk)
    assert list(stream) == []


def test_endpoints_to_avoid_are_asked_last(registry, other, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(f'[host."{other.url}"]')
    client = make_client(directories=[tmp_path])
    registry.add_blob("a/b", BODY)
    other.on("GET", PATH, Answer(200, bytes(SIZE)))
    assert content(fetch(client, registry)) == bytes(SIZE)
    assert content(fetch(client, registry, avoid={other.host})) == BODY


def test_a_blob_by_address_goes_without_credentials(registry, logged_in):
    registry.on("GET", "/elsewhere", Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'}))
    with pytest.raises(PermissionDeniedError, match="log in first"):
        logged_in.fetch_url(f"{registry.url}/elsewhere?x=1", DIGEST, SIZE)
    registry.on("GET", "/elsewhere", Answer(200, BODY))
    assert content(logged_in.fetch_url(f"{registry.url}/elsewhere?x=1", DIGEST, SIZE)) == BODY
    assert all("authorization" not in asked.headers for asked in registry.asked)
    with pytest.raises(InvalidArgumentError):
        logged_in.fetch_url("file:///etc/passwd", DIGEST, SIZE)


@given(st.integers(-5, 20), st.integers(-5, 20), st.integers(0, 10))
def test_spans_lie_within_their_blob(start, end, size):
    try:
        span = Span(start, end, size)
    except InvalidArgumentError:
        assert not 0 <= start <= end <= size
    else:
        assert 0 <= start <= end <= size
        assert span.is_whole == (span.start == 0 and span.end == size)
