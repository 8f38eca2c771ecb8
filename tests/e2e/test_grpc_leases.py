"""Leases and references: what is held stays, what nothing holds is gone when a synchronous call returns."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import pytest
from daemon import wait_until
from gateway_api import Api
from test_grpc_content import COMMIT, CONTENT, LEASES, digest_of, fresh, written

from transport.grpc.interface import message

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
SNAPSHOTS: Final = "containerd.services.snapshots.v1.Snapshots"


def lease(api: Api, **labels: str) -> str:
    """A new one, by its id."""
    return str(api.ask(LEASES, "Create", id=f"l{secrets.token_hex(6)}", labels=labels).lease.id)


def collect(api: Api) -> None:
    """Have what nothing holds collected."""
    api.ask(LEASES, "Delete", id=lease(api), sync=True)


def put(api: Api, **labels: str) -> str:
    """Some content; its digest."""
    ref, data = fresh()
    written(api, {"action": COMMIT, "ref": ref, "data": data, "labels": labels})
    return digest_of(data)


def is_there(api: Api, digest: str) -> bool:
    found = list(api.stream(CONTENT, "List", filters=[f"digest=={digest}"]))
    return any(one.digest == digest for page in found for one in page.info)


def test_content_is_held_by_the_lease_of_its_header(api: Api):
    held = lease(api)
    digest = put(api.within(lease=held))
    collect(api)
    assert is_there(api, digest)
    api.ask(LEASES, "Delete", id=held, sync=True)
    assert not is_there(api, digest)


def test_snapshots_are_held_too(api: Api):
    held, key = lease(api), f"s{secrets.token_hex(4)}"
    api.within(lease=held).ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key)
    resources = api.ask(LEASES, "ListResources", id=held).resources
    assert [(one.id, one.type) for one in resources] == [(key, "snapshots/overlayfs")]
    collect(api)
    assert api.ask(SNAPSHOTS, "Stat", snapshotter="overlayfs", key=key).info.name == key
    api.ask(LEASES, "Delete", id=held, sync=True)
    assert api.fails(SNAPSHOTS, "Stat", snapshotter="overlayfs", key=key)[0] == "NOT_FOUND"


def test_a_lease_that_has_expired_holds_nothing(api: Api):
    end = int(time.time()) + 3  # not before: a collection that comes by would have it gone before it holds
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))
    held = lease(api, **{"containerd.io/gc.expire": stamp})
    digest = put(api.within(lease=held))
    collect(api)
    assert is_there(api, digest) or time.time() > end
    wait_until("it has expired", lambda: time.time() > end)
    collect(api)
    assert not is_there(api, digest)
    assert api.fails(LEASES, "Delete", id=held)[0] == "NOT_FOUND"


def test_a_lease_may_expire_when_no_database_counts_any_more(api: Api):
    """Such a time ended metadata, and with each repetition once more."""
    held = lease(api, **{"containerd.io/gc.expire": "9999-12-31T23:59:59Z"})
    digest = put(api.within(lease=held))
    collect(api)
    assert is_there(api, digest)
    api.ask(LEASES, "Delete", id=held, sync=True)


def test_resources_are_added_and_taken_away(api: Api):
    held, digest = lease(api), put(api, **{"containerd.io/gc.root": "1"})
    make = message("containerd.services.leases.v1.Resource")
    api.ask(LEASES, "AddResource", id=held, resource=make(id=digest, type="content"))
    assert [one.id for one in api.ask(LEASES, "ListResources", id=held).resources] == [digest]
    api.ask(LEASES, "DeleteResource", id=held, resource=make(id=digest, type="content"))
    assert list(api.ask(LEASES, "ListResources", id=held).resources) == []
    wrong = make(id="x", type="nonsense")
    for method in ("AddResource", "DeleteResource"):
        assert api.fails(LEASES, method, id=held, resource=wrong)[0] == "INVALID_ARGUMENT"
        assert api.fails(LEASES, method, id="nobody", resource=wrong)[0] == "NOT_FOUND"
    assert api.fails(LEASES, "AddResource", id="nobody", resource=make(id=digest, type="content"))[0] == (
        "NOT_FOUND"
    )
    api.ask(LEASES, "Delete", id=held)


def test_an_id_is_taken_once(api: Api):
    held = lease(api)
    assert api.fails(LEASES, "Create", id=held)[0] == "ALREADY_EXISTS"
    assert api.ask(LEASES, "Create").lease.id  # without one, it is chosen
    api.ask(LEASES, "Delete", id=held)
    assert api.fails(LEASES, "Delete", id=held)[0] == "NOT_FOUND"


def test_what_a_label_refers_to_is_held(api: Api):
    """By any suffix; and no more than that once the label is gone."""
    one, two = put(api, **{"containerd.io/gc.root": "1"}), put(api, **{"containerd.io/gc.root": "1"})
    top = put(
        api,
        **{
            "containerd.io/gc.root": "1",
            "containerd.io/gc.ref.content": one,
            "containerd.io/gc.ref.content.l.0": two,
        },
    )
    for digest in (one, two):
        relabel(api, digest, "containerd.io/gc.root", "")
    collect(api)
    assert is_there(api, one)
    assert is_there(api, two)
    relabel(api, top, "containerd.io/gc.ref.content.l.0", "")
    collect(api)
    assert is_there(api, one)
    assert not is_there(api, two)
    relabel(api, top, "containerd.io/gc.root", "")
    collect(api)
    assert not is_there(api, top)
    assert not is_there(api, one)


def test_a_flat_lease_holds_only_what_it_names(api: Api):
    child = put(api, **{"containerd.io/gc.root": "1"})
    held = lease(api, **{"containerd.io/gc.flat": "1"})
    top = put(api.within(lease=held), **{"containerd.io/gc.ref.content": child})
    relabel(api, child, "containerd.io/gc.root", "")
    collect(api)
    assert is_there(api, top)
    assert not is_there(api, child)
    api.ask(LEASES, "Delete", id=held, sync=True)


def relabel(api: Api, digest: str, key: str, value: str) -> Any:
    """One label of a blob; an empty value takes it away."""
    info = message("containerd.services.content.v1.Info")(digest=digest, labels={key: value})
    return api.ask(CONTENT, "Update", info=info, update_mask={"paths": [f"labels.{key}"]})
