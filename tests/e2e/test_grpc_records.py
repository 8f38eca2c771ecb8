"""Field masks, filters and namespaces of containerd's services, by a gRPC client of our own."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from gateway_api import CONTAINERS, LIMIT, Api, _packed, refusal, serving
from test_grpc_content import CONTENT
from test_grpc_leases import LEASES, SNAPSHOTS, put

from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon import Daemon

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]
IMAGES: Final = "containerd.services.images.v1.Images"
NAMESPACES: Final = "containerd.services.namespaces.v1.Namespaces"
KEPT: Final = {"first": "1", "with.dots/and.slash": "2"}


@dataclass(frozen=True)
class Kind:
    """A kind of record that has labels.

    Attributes:
        make: one with these labels; its name.
        update: its labels, of those that a mask names.
    """

    make: Callable[[Api, Path, dict[str, str]], str]
    update: Callable[[Api, str, dict[str, str], list[str]], Any]


def _container(api: Api, root: Path, labels: dict[str, str]) -> str:
    name = api.container(root, "true")
    given = message("containerd.services.containers.v1.Container")(id=name, labels=labels)
    api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": ["labels"]})
    return name


def _update_container(api: Api, name: str, labels: dict[str, str], paths: list[str]) -> Any:
    given = message("containerd.services.containers.v1.Container")(id=name, labels=labels)
    found = api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": paths})
    return found.container.labels


def _update_content(api: Api, name: str, labels: dict[str, str], paths: list[str]) -> Any:
    info = message("containerd.services.content.v1.Info")(digest=name, labels=labels)
    return api.ask(CONTENT, "Update", info=info, update_mask={"paths": paths}).info.labels


def image(name: str, digest: str, labels: dict[str, str]) -> Any:
    made = message("containerd.services.images.v1.Image")(name=name, labels=labels)
    made.target.digest, made.target.size, made.target.media_type = digest, 64, "text/plain"
    return made


def _image(api: Api, _: Path, labels: dict[str, str]) -> str:
    digest = put(api, **{"containerd.io/gc.root": "1"})
    return str(
        api.ask(
            IMAGES, "Create", image=image(f"example.org/{secrets.token_hex(4)}:1", digest, labels)
        ).image.name
    )


def _update_image(api: Api, name: str, labels: dict[str, str], paths: list[str]) -> Any:
    given = message("containerd.services.images.v1.Image")(name=name, labels=labels)
    return api.ask(IMAGES, "Update", image=given, update_mask={"paths": paths}).image.labels


def _snapshot(api: Api, _: Path, labels: dict[str, str]) -> str:
    name = f"s{secrets.token_hex(4)}"
    labels = {**labels, "containerd.io/gc.root": "1"}
    api.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=name, labels=labels)
    return name


def _update_snapshot(api: Api, name: str, labels: dict[str, str], paths: list[str]) -> Any:
    info = message("containerd.services.snapshots.v1.Info")(name=name, labels=labels)
    fields = {"snapshotter": "overlayfs", "info": info, "update_mask": {"paths": paths}}
    return api.ask(SNAPSHOTS, "Update", **fields).info.labels


def _namespace(api: Api, _: Path, labels: dict[str, str]) -> str:
    made = message("containerd.services.namespaces.v1.Namespace")
    name = f"n{secrets.token_hex(4)}"
    return str(api.ask(NAMESPACES, "Create", namespace=made(name=name, labels=labels)).namespace.name)


def _update_namespace(api: Api, name: str, labels: dict[str, str], paths: list[str]) -> Any:
    given = message("containerd.services.namespaces.v1.Namespace")(name=name, labels=labels)
    return api.ask(NAMESPACES, "Update", namespace=given, update_mask={"paths": paths}).namespace.labels


KINDS: Final = {
    "containers": Kind(_container, _update_container),
    "content": Kind(
        lambda api, _, labels: put(api, **{**labels, "containerd.io/gc.root": "1"}), _update_content
    ),
    "images": Kind(_image, _update_image),
    "snapshots": Kind(_snapshot, _update_snapshot),
    "namespaces": Kind(_namespace, _update_namespace),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_mask_names_a_label_with_dots_and_touches_no_other(api: Api, root: Path, kind: Kind):
    name = kind.make(api, root, KEPT)
    changed = {"with.dots/and.slash": "new", "first": "not asked for"}
    labels = dict(kind.update(api, name, changed, ["labels.with.dots/and.slash"]))
    labels.pop("containerd.io/gc.root", None)
    assert labels == {"first": "1", "with.dots/and.slash": "new"}
    labels = dict(kind.update(api, name, {}, ["labels.with.dots/and.slash"]))
    labels.pop("containerd.io/gc.root", None)
    assert labels == {"first": "1"}  # no value, no label
    held = {"only": "this", "containerd.io/gc.root": "1"}
    assert dict(kind.update(api, name, held, ["labels"])) == held


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_labels_that_are_set_at_the_same_time_are_all_set(api: Api, root: Path, kind: Kind):
    """Who sets one does not write the others as they were when it looked."""
    name = kind.make(api, root, KEPT)
    wanted = {f"own.{number}": "set" for number in range(24)}
    with ThreadPoolExecutor(len(wanted)) as clients:
        for key in wanted:
            clients.submit(kind.update, api, name, {key: "set"}, [f"labels.{key}"])
    labels = dict(kind.update(api, name, {"last": "1"}, ["labels.last"]))
    assert labels.items() >= {**wanted, "last": "1", "first": "1"}.items()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_label_without_a_value_is_none(api: Api, root: Path, kind: Kind):
    name = kind.make(api, root, {**KEPT, "empty": ""})
    labels = dict(kind.update(api, name, {"last": "1"}, ["labels.last"]))
    labels.pop("containerd.io/gc.root", None)
    assert labels == {**KEPT, "last": "1"}


def test_a_snapshot_s_label_without_a_value_is_none_without_a_mask(api: Api, root: Path):
    name = _snapshot(api, root, {})
    held = {"containerd.io/gc.root": "1"}
    assert dict(_update_snapshot(api, name, {**held, "empty": ""}, [])) == held


def test_a_label_without_a_value_is_none_wherever_labels_are_given(api: Api, root: Path):
    given, kept = {"empty": "", "first": "1"}, {"first": "1"}
    made = api.ask(CONTAINERS, "Get", id=api.container(root, "true")).container
    made.id = f"c{secrets.token_hex(8)}"
    made.labels.update(given)
    assert dict(api.ask(CONTAINERS, "Create", container=made).container.labels) == kept
    held = api.ask(LEASES, "Create", labels=given).lease
    assert dict(held.labels) == kept
    own, key, name = api.within(lease=held.id), *(f"s{secrets.token_hex(4)}" for _ in range(2))
    own.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key=key)
    own.ask(SNAPSHOTS, "Commit", snapshotter="overlayfs", key=key, name=name, labels=given)
    found = own.ask(SNAPSHOTS, "Stat", snapshotter="overlayfs", key=name).info
    assert dict(found.labels) == kept
    space = _namespace(api, root, {"second": "2"})
    assert dict(_update_namespace(api, space, given, [])) == kept
    api.ask(LEASES, "Delete", id=held.id)


@pytest.mark.parametrize("kind", [KINDS["images"], KINDS["namespaces"]], ids=["images", "namespaces"])
def test_a_mask_that_names_what_is_no_label_is_refused(api: Api, root: Path, kind: Kind):
    name = kind.make(api, root, KEPT)
    code, text = refusal(lambda: kind.update(api, name, {}, ["nonsense"]))
    assert (code, "nonsense" in text) == ("INVALID_ARGUMENT", True)


def test_what_cannot_change_is_refused(api: Api, root: Path):
    name = api.container(root, "true")
    given = message("containerd.services.containers.v1.Container")(id=name)
    for path in ("runtime", "snapshotter", "nonsense", "spec.process", "image.name"):
        code, text = api.fails(CONTAINERS, "Update", container=given, update_mask={"paths": [path]})
        assert (code, path in text) == ("INVALID_ARGUMENT", True)
    assert api.fails(CONTAINERS, "Update", container={"id": "nobody"})[0] == "NOT_FOUND"
    whole = api.ask(CONTAINERS, "Get", id=name).container
    for field, other in (("runtime", {"name": "other"}), ("snapshotter", "native"), ("spec", None)):
        fields = {one.name: value for one, value in whole.ListFields()} | {field: other}
        code, text = api.fails(CONTAINERS, "Update", container=fields)
        assert (code, field in text) == ("INVALID_ARGUMENT", True)
    whole.image = "another"
    assert api.ask(CONTAINERS, "Update", container=whole).container.image == "another"


def test_the_key_of_a_snapshot_is_changed_by_the_name_that_containerd_gives_it(api: Api, root: Path):
    given = api.ask(CONTAINERS, "Get", id=api.container(root, "true")).container
    given.snapshot_key = "another"
    found = api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": ["snapshotkey"]})
    assert found.container.snapshot_key == "another"


@pytest.mark.parametrize("missing", ["spec", "runtime", "snapshotter"])
def test_what_could_never_run_is_not_put_on_record(api: Api, root: Path, missing: str):
    given = api.ask(CONTAINERS, "Get", id=api.container(root, "true")).container
    given.id, given.snapshot_key, given.snapshotter = f"c{secrets.token_hex(8)}", "one", "overlayfs"
    given.ClearField(missing)
    code, text = api.fails(CONTAINERS, "Create", container=given)
    assert (code, missing in text) == ("INVALID_ARGUMENT", True)
    assert api.fails(CONTAINERS, "Get", id=given.id)[0] == "NOT_FOUND"


@pytest.mark.parametrize("missing", ["size", "media_type"])
def test_an_image_that_points_at_nothing_is_not_put_on_record(api: Api, missing: str):
    name = f"example.org/{secrets.token_hex(4)}:1"
    given = image(name, f"sha256:{'0' * 64}", {})
    api.ask(IMAGES, "Create", image=given)
    given.target.ClearField(missing)
    for method in ("Create", "Update"):
        code, text = api.fails(IMAGES, method, image=given)
        assert (code, missing in text) == ("INVALID_ARGUMENT", True)
    assert api.ask(IMAGES, "Get", name=name).image.target.size == 64
    given.name = "nobody"
    assert api.fails(IMAGES, "Update", image=given)[0] == "NOT_FOUND"


def test_extensions_one_by_one(api: Api, root: Path):
    name = api.container(root, "true")
    packed = message("google.protobuf.Any")(type_url="own", value=b"1")
    given = message("containerd.services.containers.v1.Container")(
        id=name, extensions={"a.b": packed, "c": packed}
    )
    found = api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": ["extensions.a.b"]})
    assert dict(found.container.extensions) == {"a.b": packed}
    assert found.container.spec.value  # all else is as it was


def test_extensions_that_are_set_at_the_same_time_are_all_set(api: Api, root: Path, gateway: Daemon):
    """Each by a client of its own, while `actr` changes what is not theirs."""
    name, packed = api.container(root, "true"), message("google.protobuf.Any")(type_url="own", value=b"1")
    wanted = {f"own.{number}" for number in range(24)}

    def extend(key: str) -> None:
        given = message("containerd.services.containers.v1.Container")(id=name, extensions={key: packed})
        api.ask(CONTAINERS, "Update", container=given, update_mask={"paths": [f"extensions.{key}"]})

    with ThreadPoolExecutor(len(wanted)) as clients:
        asked = [clients.submit(extend, key) for key in wanted]
    gateway.actr("update", "--pids-limit", "50", name)
    assert [one.result() for one in asked] == [None] * len(wanted)
    assert set(api.ask(CONTAINERS, "Get", id=name).container.extensions) == wanted


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        (["labels.who=={0}"], "ab"),
        (["labels.who=={0},labels.kind==a"], "a"),
        (["labels.who=={0},labels.kind!=a"], "b"),
        (["labels.who=={0},labels.kind~=^[a]$"], "a"),
        (["labels.who=={0},labels.kind~=|^[ab]$|"], "ab"),
        (['labels.who=={0},labels."with.dots"'], "b"),
        (['labels.who=={0},labels."with.dots"=="x y"'], "b"),
        (["labels.who=={0},labels.kind==a", "labels.who=={0},labels.kind==b"], "ab"),
        (["labels.who=={0},labels.nothing"], ""),
    ],
)
def test_filters(api: Api, filters: list[str], wanted: str):
    who = secrets.token_hex(4)
    for kind, more in (("a", {}), ("b", {"with.dots": "x y"})):
        digest = put(api, **{"containerd.io/gc.root": "1"})
        made = image(f"example.org/{who}:{kind}", digest, {"who": who, "kind": kind, **more})
        api.ask(IMAGES, "Create", image=made)
    found = api.ask(IMAGES, "List", filters=[one.format(who) for one in filters]).images
    assert "".join(sorted(one.labels["kind"] for one in found)) == wanted


@pytest.mark.parametrize("filters", [["name=="], ["name=x"], ["name~=("], ['name=="unclosed'], ["==x"]])
def test_a_filter_that_is_none_is_refused(api: Api, filters: list[str]):
    for service in (IMAGES, CONTAINERS, LEASES):
        assert api.fails(service, "List", filters=filters)[0] == "INVALID_ARGUMENT"


def test_namespaces(api: Api):
    name = f"n{secrets.token_hex(4)}"
    assert dict(api.ask(NAMESPACES, "Get", name=name).namespace.labels) == {}
    assert name not in {one.name for one in api.ask(NAMESPACES, "List").namespaces}
    held = api.within(namespace=name).ask(LEASES, "Create").lease.id
    assert name in {one.name for one in api.ask(NAMESPACES, "List").namespaces}
    assert api.fails(NAMESPACES, "Create", namespace={"name": name})[0] == "ALREADY_EXISTS"
    api.within(namespace=name).ask(IMAGES, "Create", image=image("one", f"sha256:{'0' * 64}", {}))
    code, text = api.fails(NAMESPACES, "Delete", name=name)
    assert (code, "image (one)" in text, held in text) == ("FAILED_PRECONDITION", True, False)
    api.within(namespace=name).ask(IMAGES, "Delete", name="one")
    api.ask(NAMESPACES, "Delete", name=name)
    assert api.fails(NAMESPACES, "Delete", name=name)[0] == "NOT_FOUND"
    assert not api.within(namespace=name).ask(LEASES, "List").leases  # they went with it


def test_a_namespace_with_nothing_but_snapshots_is_there_and_is_not_empty(api: Api):
    """Without a lease: metadata hears nothing of them."""
    own, kept = api.within(namespace=f"n{secrets.token_hex(4)}"), {"containerd.io/gc.root": "1"}
    name = own.namespace
    assert own.fails(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key="one", parent="no")[0] == "NOT_FOUND"
    assert name not in {one.name for one in api.ask(NAMESPACES, "List").namespaces}
    own.ask(SNAPSHOTS, "Prepare", snapshotter="overlayfs", key="one", labels=kept)
    assert name in {one.name for one in api.ask(NAMESPACES, "List").namespaces}
    code, text = api.fails(NAMESPACES, "Delete", name=name)
    assert (code, "remove 1 snapshot (one) first" in text) == ("FAILED_PRECONDITION", True)
    own.ask(SNAPSHOTS, "Remove", snapshotter="overlayfs", key="one")
    api.ask(NAMESPACES, "Delete", name=name)
    assert name not in {one.name for one in api.ask(NAMESPACES, "List").namespaces}


def test_a_namespace_with_volumes_is_not_empty(api: Api, gateway: Daemon):
    name = f"n{secrets.token_hex(4)}"
    api.ask(NAMESPACES, "Create", namespace={"name": name})
    gateway.actr("-n", name, "volume", "create", "a")
    gateway.actr("-n", name, "volume", "create", "b")
    code, text = api.fails(NAMESPACES, "Delete", name=name)
    assert (code, "remove 2 volumes (a, b) first" in text) == ("FAILED_PRECONDITION", True)
    gateway.actr("-n", name, "volume", "rm", "a", "b")
    api.ask(NAMESPACES, "Delete", name=name)


def test_a_namespace_with_nothing_but_an_ingest_is_there(api: Api):
    own = api.within(namespace=f"n{secrets.token_hex(4)}")
    list(own.converse(CONTENT, "Write", [{"action": 1, "ref": "r", "data": b"x", "total": 5}]))
    assert own.namespace in {one.name for one in api.ask(NAMESPACES, "List").namespaces}
    own.ask(CONTENT, "Abort", ref="r")
    api.ask(NAMESPACES, "Delete", name=own.namespace)


@pytest.mark.parametrize("name", ["", "a" * 77, "-a", "a b", "a/b", "ä"])
def test_an_identifier_has_a_form(api: Api, root: Path, name: str):
    assert api.fails(NAMESPACES, "Create", namespace={"name": name})[0] == "INVALID_ARGUMENT"
    given = message("containerd.services.containers.v1.Container")(id=name)
    given.runtime.name = "io.containerd.runc.v2"
    assert api.fails(CONTAINERS, "Create", container=given)[0] == "INVALID_ARGUMENT"


def test_one_of_another_namespace_is_not_found_and_it_is_said_where_it_is(api: Api, root: Path):
    name = api.within(namespace="k8s.io").container(root, "true")
    code, text = api.fails(CONTAINERS, "Get", id=name)
    assert (code, "k8s.io" in text) == ("NOT_FOUND", True)
    api.within(namespace="k8s.io").ask(CONTAINERS, "Delete", id=name)


@pytest.mark.parametrize(("service", "status"), [("", 1), ("containerd.services.tasks.v1.Tasks", 3)])
def test_health_is_watched_until_nobody_is_there(api: Api, gateway: Daemon, service: str, status: int):
    """A stream that ended would say that the server is ill."""
    asked, answer = (message(f"grpc.health.v1.HealthCheck{kind}") for kind in ("Request", "Response"))
    watch = api.channel.unary_stream("/grpc.health.v1.Health/Watch", _packed, answer.FromString)
    watched = watch(asked(service=service), timeout=LIMIT, wait_for_ready=True)
    assert next(watched).status == status
    gateway.kill_actor("grpc")
    assert refusal(lambda: next(watched))[0] == "UNAVAILABLE"


def test_health_knows_no_single_services(api: Api):
    asked, answer = (message(f"grpc.health.v1.HealthCheck{kind}") for kind in ("Request", "Response"))
    check = api.channel.unary_unary("/grpc.health.v1.Health/Check", _packed, answer.FromString)
    assert check(asked(), timeout=LIMIT, wait_for_ready=True).status == 1
    assert refusal(lambda: check(asked(service="tasks"), timeout=LIMIT))[0] == "NOT_FOUND"


def test_an_image_is_made_once_whoever_dies_over_it(tmp: Path):
    """Metadata dies between the record and its answer; who is there already is refused as ever."""
    with serving(tmp, "--failpoints") as (daemon, api):
        daemon.actr("chaos", "set", "metadata.images.create.after", "kill(count=1)")
        given = image("made/once:1", f"sha256:{'0' * 64}", {"a": "b"})
        made = api.ask(IMAGES, "Create", image=given).image
        assert "ended with status 9" in daemon.log.read_text()
        assert (made.name, dict(made.labels)) == ("made/once:1", {"a": "b"})
        assert api.fails(IMAGES, "Create", image=given)[0] == "ALREADY_EXISTS"
