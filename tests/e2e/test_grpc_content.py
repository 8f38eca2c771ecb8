"""What a re-implementation of containerd's content service gets wrong, by a gRPC client of our own."""

from __future__ import annotations

import hashlib
import queue
import secrets
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from daemon import wait_until
from gateway_api import Api, refusal

from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
CONTENT: Final = "containerd.services.content.v1.Content"
LEASES: Final = "containerd.services.leases.v1.Leases"
STAT, WRITE, COMMIT = 0, 1, 2


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def fresh() -> tuple[str, bytes]:
    """A ref and content that nobody else has."""
    name = secrets.token_hex(8)
    return name, name.encode() * 4


def written(api: Api, *requests: dict[str, Any]) -> list[Any]:
    return list(api.converse(CONTENT, "Write", requests))


def refused(api: Api, *requests: dict[str, Any]) -> tuple[str, str]:
    return refusal(lambda: written(api, *requests))


@pytest.fixture
def blob(api: Api) -> str:
    """The digest of one that is there, held by a label."""
    ref, data = fresh()
    labels = {"containerd.io/gc.root": "1"}
    written(api, {"action": COMMIT, "ref": ref, "data": data, "labels": labels})
    return digest_of(data)


def test_a_write_begins_with_a_ref(api: Api):
    assert refused(api, {"action": WRITE, "data": b"x"})[0] == "INVALID_ARGUMENT"


def test_a_write_that_broke_off_goes_on_where_it_was(api: Api):
    ref, data = fresh()
    written(api, {"action": WRITE, "ref": ref, "data": data[:10], "total": len(data)})
    status = api.ask(CONTENT, "Status", ref=ref).status
    assert (status.offset, status.total) == (10, len(data))
    stat, done = written(
        api,
        {"action": STAT, "ref": ref},
        {"action": COMMIT, "offset": 10, "data": data[10:], "expected": digest_of(data)},
    )
    assert stat.offset == 10
    assert stat.started_at.seconds > 0
    assert (done.digest, done.offset) == (digest_of(data), len(data))
    assert api.fails(CONTENT, "Status", ref=ref)[0] == "NOT_FOUND"


def test_a_commit_without_bytes_is_where_the_ingest_ends(api: Api):
    """What else is there is not what its client has written."""
    ref, data = fresh()
    written(api, {"action": WRITE, "ref": ref, "data": data})
    code, text = refused(api, {"action": COMMIT, "ref": ref, "offset": 7})
    assert (code, str(len(data)) in text) == ("OUT_OF_RANGE", True)
    done = written(api, {"action": COMMIT, "ref": ref, "labels": {"containerd.io/gc.root": "1"}})[-1]
    assert (done.digest, done.offset) == (digest_of(b""), 0)  # nought begins anew


def test_a_size_is_the_last_that_was_announced(api: Api):
    ref, data = fresh()
    first = {"action": WRITE, "ref": ref, "data": data[:3], "total": 5}
    *_, done = written(api, first, {"action": COMMIT, "offset": 3, "data": data[3:], "total": len(data)})
    assert done.digest == digest_of(data)


def test_an_offset_is_where_the_ingest_ends_or_nought(api: Api):
    ref, data = fresh()
    code, text = refused(
        api, {"action": WRITE, "ref": ref, "data": data[:10]}, {"action": WRITE, "offset": 7, "data": b"x"}
    )
    assert (code, "10" in text) == ("OUT_OF_RANGE", True)
    again, done = written(
        api, {"action": WRITE, "ref": ref, "data": b"anew"}, {"action": COMMIT, "offset": 4, "data": data}
    )
    assert again.offset == 4  # offset 0 has cut off what was there
    assert done.digest == digest_of(b"anew" + data)


def test_what_is_committed_has_the_size_and_digest_that_were_said(api: Api):
    ref, data = fresh()
    assert refused(api, {"action": COMMIT, "ref": ref, "data": data, "total": 5})[0] == "FAILED_PRECONDITION"
    wrong = {"action": COMMIT, "ref": f"{ref}2", "data": data, "expected": digest_of(b"other")}
    assert refused(api, wrong)[0] == "FAILED_PRECONDITION"
    assert api.fails(CONTENT, "Info", digest=digest_of(data))[0] == "NOT_FOUND"


def test_a_blob_that_is_there_is_not_written_again_but_leased(api: Api, blob: str):
    lease = api.ask(LEASES, "Create", id=f"l{secrets.token_hex(4)}").lease.id
    there = {"action": WRITE, "ref": fresh()[0], "expected": blob, "data": b"x"}
    assert refused(api.within(lease=lease), there)[0] == "ALREADY_EXISTS"
    held = api.ask(LEASES, "ListResources", id=lease).resources
    assert (blob, "content") in {(one.id, one.type) for one in held}
    api.ask(LEASES, "Delete", id=lease, sync=True)
    assert api.ask(CONTENT, "Info", digest=blob).info.digest == blob  # its label holds it still


def test_a_blob_that_is_there_cannot_be_committed_again(api: Api):
    """The ingest is gone all the same, and the labels stay as they were."""
    ref, data = fresh()
    labels = {"containerd.io/gc.root": "1"}
    first = {"action": COMMIT, "ref": ref, "data": data, "labels": labels}
    written(api, first)
    assert refused(api, {**first, "labels": {"other": "x"}})[0] == "ALREADY_EXISTS"
    assert api.fails(CONTENT, "Status", ref=ref)[0] == "NOT_FOUND"
    assert dict(api.ask(CONTENT, "Info", digest=digest_of(data)).info.labels) == labels


def test_a_ref_has_one_writer(api: Api):
    ref, data = fresh()
    waiting: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def requests() -> Iterator[dict[str, Any]]:
        while (found := waiting.get()) is not None:
            yield found

    answers = api.converse(CONTENT, "Write", requests())
    waiting.put({"action": WRITE, "ref": ref, "data": data[:4]})
    assert next(answers).offset == 4
    assert refused(api, {"action": STAT, "ref": ref})[0] == "UNAVAILABLE"
    waiting.put(None)
    assert list(answers) == []
    wait_until("it is free", lambda: _is_free(api, ref))


def _is_free(api: Api, ref: str) -> bool:
    try:
        return bool(written(api, {"action": STAT, "ref": ref})[0].offset == 4)
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error  # noqa: PT017
        return False


def test_ranges_of_a_blob(api: Api, blob: str):
    whole = b"".join(one.data for one in api.stream(CONTENT, "Read", digest=blob))
    part = list(api.stream(CONTENT, "Read", digest=blob, offset=3, size=5))
    assert (part[0].offset, part[0].data) == (3, whole[3:8])
    assert list(api.stream(CONTENT, "Read", digest=blob, offset=len(whole))) == []
    rest = api.stream(CONTENT, "Read", digest=blob, offset=3, size=len(whole))  # as Go's ReaderAt asks
    assert b"".join(one.data for one in rest) == whole[3:]
    beyond = refusal(lambda: list(api.stream(CONTENT, "Read", digest=blob, offset=len(whole) + 1)))
    assert beyond[0] == "OUT_OF_RANGE"


def test_a_namespace_sees_only_its_own(api: Api, blob: str):
    other = api.within(namespace="elsewhere")
    assert other.fails(CONTENT, "Info", digest=blob)[0] == "NOT_FOUND"
    assert refusal(lambda: list(other.stream(CONTENT, "Read", digest=blob)))[0] == "NOT_FOUND"
    none = Api(api.channel, namespace="")
    code, text = none.fails(CONTENT, "Info", digest=blob)
    assert (code, "namespace is required" in text) == ("FAILED_PRECONDITION", True)


def test_a_label_has_at_most_4096_bytes(api: Api, blob: str):
    def put(value: str) -> Any:
        info = message("containerd.services.content.v1.Info")(digest=blob, labels={"key": value})
        return {"info": info, "update_mask": {"paths": ["labels.key"]}}

    longest = "v" * (4096 - len("key"))
    assert api.ask(CONTENT, "Update", **put(longest)).info.labels["key"] == longest
    assert api.fails(CONTENT, "Update", **put(longest + "v"))[0] == "INVALID_ARGUMENT"


def test_ingests_are_listed_and_dropped(api: Api):
    ref, data = fresh()
    written(api, {"action": WRITE, "ref": ref, "data": data})
    found = api.ask(CONTENT, "ListStatuses", filters=[f"ref=={ref}"]).statuses
    assert [one.ref for one in found] == [ref]
    assert list(api.within(namespace="elsewhere").ask(CONTENT, "ListStatuses").statuses) == []
    api.ask(CONTENT, "Abort", ref=ref)
    assert api.fails(CONTENT, "Abort", ref=ref)[0] == "NOT_FOUND"
