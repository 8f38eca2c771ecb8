"""Calls of containerd's API, drawn by a seed, and what comes of them in terms that daemons have in common."""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import grpc
from gateway_api import CONTAINERS, Api, packed_spec
from test_grpc_content import COMMIT, CONTENT, STAT, WRITE
from test_grpc_leases import LEASES, SNAPSHOTS
from test_grpc_records import IMAGES, NAMESPACES, image

from transport.grpc import interface
from transport.grpc.interface import message

if TYPE_CHECKING:
    from collections.abc import Callable

INTROSPECTION: Final = "containerd.services.introspection.v1.Introspection"
HELD: Final = "held"
"""The lease that holds what there is in the first namespace: no collection is to come in between."""
PLACE: Final = re.compile(r"/[^:,=]*/snapshots/\d+(/fs|/work)?")
WRITTEN: Final = "containerd.services.content.v1.WriteContentResponse"
UNCOMPARED: Final = {
    WRITTEN: ("started_at", "updated_at", "digest"),  # there with each answer of theirs
    "containerd.services.content.v1.ReadContentResponse": ("offset",),  # nought, wherever theirs begins
    "containerd.services.content.v1.Status": ("expected",),  # theirs forgets it
    "containerd.services.snapshots.v1.UsageResponse": ("size", "inodes"),  # as the file systems have it
    "containerd.services.namespaces.v1.UpdateNamespaceResponse": ("namespace",),  # theirs is empty
    "containerd.services.namespaces.v1.CreateNamespaceResponse": ("namespace",),  # theirs has empty labels
    "containerd.services.introspection.v1.Plugin": ("exports", "requires", "capabilities"),
}
"""Fields by their messages."""
LABELS: Final = ({}, {"a": "1"}, {"a": "2", "b.c/d": "x y"}, {"empty": ""}, {"k" * 2000: "v" * 2097})
MASKS: Final = ([], ["labels"], ["labels.a"], ["labels.b.c/d", "labels.a"], ["nonsense"])
FILTERS: Final = (
    [], ["labels.a==1"], ["labels.a"], ['labels."b.c/d"=="x y"'], ["labels.a!=1"], ["labels.a~=^[12]$"],
    ["name~=s"], ["id==c1"], ["a==", "name==x"], ["nonsense==x"],
)  # fmt: skip
NAMES: Final = ("", "x y", "-a", "a" * 77, "ä")


@dataclass(frozen=True)
class Step:
    """One call."""

    service: str
    method: str
    fields: dict[str, Any] = field(default_factory=dict)
    namespace: str = ""
    requests: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        said = " ".join(f"{key}={str(value)[:120]!r}" for key, value in self.fields.items())
        return f"{self.service.split('.')[-1]}.{self.method} in {self.namespace}: {said}{self.requests or ''}"

    def outcome(self, api: Api) -> tuple[str, Any]:
        """The code of its status, and what was answered."""
        client = api.within(namespace=self.namespace, lease=HELD if self.namespace.endswith("-1") else "")
        found: list[Any] = []
        try:
            if self.requests:
                found.extend(client.converse(self.service, self.method, self.requests))
            elif interface.methods(self.service)[self.method].server_streaming:
                found.extend(client.stream(self.service, self.method, **self.fields))
            else:
                found.append(client.ask(self.service, self.method, **self.fields))
        except grpc.RpcError as error:
            return error.code().name, said(found)
        if self.service == NAMESPACES and self.method == "List":  # others may be at work
            own = self.namespace.removesuffix("1")
            return "OK", sorted(repr(plain(one)) for one in found[0].namespaces if one.name.startswith(own))
        return "OK", said(found)


def said(answers: list[Any]) -> list[Any]:
    """Without one that only says the same once more, as containerd does at the end of a write."""
    found = [plain(one) for one in answers]
    return [one for at, one in enumerate(found) if at == 0 or one != found[at - 1]]


def plain(answer: Any) -> Any:
    """An answer without times, places, and the order of what is listed."""
    name = answer.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        return "TIME"
    if name == "containerd.types.Mount":
        options = sorted(map(placed, answer.options))
        return {"type": answer.type, "source": placed(answer.source), "options": options}
    fields = {one.name: _plain(one, value) for one, value in answer.ListFields()}
    for one in UNCOMPARED.get(name, ()):
        fields.pop(one, None)
    if name == WRITTEN and answer.action != STAT:
        fields.pop("total", None)
    return fields


def placed(text: str) -> str:
    """Without where the daemon has it."""
    return PLACE.sub(r"PLACE", text)


def _plain(one: Any, value: Any) -> Any:
    if hasattr(value, "items"):
        return {
            key: plain(each) if hasattr(each, "DESCRIPTOR") else each for key, each in sorted(value.items())
        }
    if isinstance(value, str | bytes | int | float):
        return value
    if hasattr(value, "DESCRIPTOR"):
        return plain(value)
    found = [plain(each) if hasattr(each, "DESCRIPTOR") else each for each in value]
    return found if one.message_type and one.message_type.name == "Mount" else sorted(found, key=repr)


class Drawn:
    """Steps by chance."""

    def __init__(self, seed: int, name: str) -> None:
        self._chance = random.Random(seed)  # noqa: S311  # to be drawn again
        self._contents = tuple(f"{name}{number}".encode() * 9 for number in range(3))
        self._spaces = [f"{name}-{number}" for number in (1, 2, 3)]

    def first(self) -> list[Step]:
        """What all that comes has to find."""
        return [Step(LEASES, "Create", {"id": HELD}, namespace=f"{self._spaces[0]}")]

    def step(self) -> Step:
        """The next one."""
        draw: Callable[[], Step] = self._chance.choices(
            [self._namespace, self._container, self._image, self._content, self._write, self._lease,
             self._snapshot, self._new_snapshot, self._plugins],
            [3, 4, 4, 4, 5, 4, 6, 6, 1],
        )[0]  # fmt: skip
        return draw()

    def _one(self, *names: Any) -> Any:
        return self._chance.choice(names)

    def _name(self, *names: str) -> str:
        """One of these, or hardly ever one that is none."""
        return str(self._one(*NAMES) if self._chance.random() < 0.03 else self._one(*names))

    def _labels(self) -> dict[str, str]:
        return dict(self._chance.choices(LABELS, [4, 4, 4, 1, 0.2])[0])

    def _mask(self) -> dict[str, Any]:
        return {"paths": self._chance.choices(MASKS, [4, 4, 4, 4, 1])[0]}

    def _space(self) -> str:
        return str(self._chance.choices(self._spaces, [4, 1, 1])[0])

    def _namespace(self) -> Step:
        verb = self._one("Get", "List", "Create", "Update", "Delete")
        name = self._name(*self._spaces[1:])
        if verb in ("Get", "Delete"):
            return Step(NAMESPACES, verb, {"name": name}, self._spaces[0])
        if verb == "List":
            return Step(NAMESPACES, verb, {}, self._spaces[0])
        mask = {"paths": self._one([], ["labels.a"], ["labels.b.c/d", "labels.a"])}
        make = message("containerd.services.namespaces.v1.Namespace")
        made = make(name=name, labels=self._one(*LABELS[1:3]))
        more = {"update_mask": mask} if verb == "Update" else {}
        return Step(NAMESPACES, verb, {"namespace": made, **more}, self._spaces[0])

    def _container(self) -> Step:
        verb, space = (
            self._one("Get", "List", "ListStream", "Create", "Create", "Update", "Delete"),
            self._space(),
        )
        name = self._name("c1", "c2")
        if verb in ("Get", "Delete"):
            return Step(CONTAINERS, verb, {"id": name}, space)
        if verb in ("List", "ListStream"):
            filters = [*FILTERS, ["image==i1"], ["runtime.name==r"]]
            return Step(CONTAINERS, verb, {"filters": self._one(*filters)}, space)
        make = message("containerd.services.containers.v1.Container")
        given = make(id=name, labels=self._labels(), image=self._one("", "i1"))
        given.runtime.name = self._one("io.containerd.runc.v2", "r", "")
        given.snapshot_key = self._one("", "s1")
        given.snapshotter = self._one("", "overlayfs")
        if self._chance.random() < 0.9:
            given.spec.CopyFrom(packed_spec({"ociVersion": "1.0.2", "process": {"cwd": "/", "args": ["a"]}}))
        if self._chance.random() < 0.3:
            given.extensions["x.y"].CopyFrom(packed_spec({"a": 1}, "Own"))
        if verb == "Create":
            return Step(CONTAINERS, verb, {"container": given}, space)
        masks = (*MASKS, ["image"], ["spec"], ["extensions"], ["extensions.x.y"], ["snapshotkey"],
                 ["runtime"],
                 ["snapshotter"], ["snapshot_key"], ["image", "labels.a"], ["id"])  # fmt: skip
        return Step(
            CONTAINERS, verb, {"container": given, "update_mask": {"paths": self._one(*masks)}}, space
        )

    def _image(self) -> Step:
        verb, space = self._one("Get", "List", "Create", "Create", "Update", "Delete"), self._space()
        name = self._name("i1", "docker.io/library/i2:latest")
        if verb == "Get":
            return Step(IMAGES, verb, {"name": name}, space)
        if verb == "Delete":
            return Step(IMAGES, verb, {"name": name, "sync": self._one(True, False)}, space)
        if verb == "List":
            filters = [
                *FILTERS,
                ["name==i1"],
                ["target.mediatype==text/plain"],
                [f"target.digest=={_digest(self._contents[0])}"],
            ]
            return Step(IMAGES, verb, {"filters": self._one(*filters)}, space)
        given = image(name, _digest(self._one(*self._contents)), self._labels())
        if self._chance.random() < 0.1:
            given.target.digest = self._one("", "sha256:1", "nonsense")
        if self._chance.random() < 0.1:
            given.target.size = self._one(0, -1)
        if self._chance.random() < 0.2:
            given.target.annotations["x"] = "y"
        masks = (*MASKS, ["target"], ["target", "labels.a"], ["name"])
        more = {"update_mask": {"paths": self._one(*masks)}} if verb == "Update" else {}
        return Step(IMAGES, verb, {"image": given, **more}, space)

    def _content(self) -> Step:
        verb = self._one("Info", "Update", "List", "Delete", "Read", "Status", "ListStatuses", "Abort")
        digest, space = _digest(self._one(*self._contents)), self._spaces[0]
        if self._chance.random() < 0.05:
            digest = self._one("", "sha256:1", "nonsense", f"sha256:{'0' * 64}")
        if verb in ("Info", "Delete"):
            return Step(CONTENT, verb, {"digest": digest}, space)
        if verb in ("Status", "Abort"):
            return Step(CONTENT, verb, {"ref": self._name("r1", "r2")}, space)
        if verb == "List":
            filters = [*FILTERS, [f"digest=={digest}"], ["size==3"], ["size!=3"]]
            return Step(CONTENT, verb, {"filters": self._one(*filters)}, space)
        if verb == "ListStatuses":
            return Step(CONTENT, verb, {"filters": self._one([], ["ref==r1"], ["ref~=r"], ["x==y"])}, space)
        if verb == "Read":
            at = {"offset": self._one(0, 0, 1, 3, 400, -1), "size": self._one(0, 0, 2, 3, 1000, -1)}
            return Step(CONTENT, verb, {"digest": digest, **at}, space)
        info = message("containerd.services.content.v1.Info")(digest=digest, labels=self._labels())
        return Step(CONTENT, verb, {"info": info, "update_mask": self._mask()}, space)

    def _write(self) -> Step:
        content, ref = self._one(*self._contents), self._name("r1", "r2")
        cut = self._one(0, 1, len(content))
        first: dict[str, Any] = {"action": self._one(STAT, WRITE, WRITE), "ref": ref, "data": content[:cut]}
        first |= self._one({}, {"total": len(content)}, {"total": len(content) + 1})
        first |= self._one({}, {}, {"offset": 1})
        if first["action"] == STAT:
            first["data"] = b""
        second = {
            "action": COMMIT,
            "ref": ref,
            "data": content[cut:],
            "offset": cut,
            "labels": self._labels(),
        }
        wrong = {"expected": _digest(b"other")}
        second |= self._one(
            {}, {"total": len(content)}, {"expected": _digest(content)}, {"ref": "other"}, wrong
        )
        whole = {"action": COMMIT, "ref": ref, "data": content, "total": len(content)}
        stat = {"action": STAT, "ref": ref}
        requests = self._one(
            (first,), (first, second), (first, stat), (whole,), (stat,), (second,), (whole, stat)
        )
        return Step(CONTENT, "Write", {}, self._spaces[0], tuple(dict(one) for one in requests))

    def _lease(self) -> Step:
        verb = self._one(
            "Create", "Create", "Delete", "List", "AddResource", "DeleteResource", "ListResources"
        )
        space, name = self._space(), self._name("l1", "l2")
        if verb == "Create":
            return Step(LEASES, verb, {"id": name or "l3", "labels": self._labels()}, space)
        if verb == "Delete":
            return Step(LEASES, verb, {"id": name, "sync": self._one(True, False)}, space)
        if verb == "List":
            return Step(LEASES, verb, {"filters": self._one(*FILTERS, ["id==l1"])}, space)
        if verb == "ListResources":
            return Step(LEASES, verb, {"id": name}, space)
        kind = self._one(
            "content", "ingests", "snapshots/overlayfs", "snapshots", "images", "nonsense", "snapshots/"
        )
        thing = message("containerd.services.leases.v1.Resource")(type=kind)
        thing.id = self._name("s1", "r1", _digest(self._contents[0]))
        return Step(LEASES, verb, {"id": name, "resource": thing}, space)

    def _new_snapshot(self) -> Step:
        verb, space = self._one("Prepare", "Prepare", "View", "Commit", "Commit"), self._spaces[0]
        fields = {"snapshotter": self._snapshotter(), "key": self._name("s1", "s2"), "labels": self._labels()}
        if verb == "Commit":
            fields["labels"] = dict(self._one(*LABELS[:4]))
            return Step(SNAPSHOTS, verb, {**fields, "name": self._name("b1", "b2", "s2")}, space)
        return Step(SNAPSHOTS, verb, {**fields, "parent": self._one("", "", "b1", "b2", "s2")}, space)

    def _snapshotter(self) -> str:
        return str(self._chance.choices(["overlayfs", "native", "nonsense"], [20, 4, 1])[0])

    def _snapshot(self) -> Step:
        verb = self._one("Mounts", "Remove", "Remove", "Stat", "Stat", "Update", "List", "Usage")
        own, space = {"snapshotter": self._snapshotter()}, self._spaces[0]
        name = self._name("s1", "s2", "b1", "b2")
        if verb == "List":
            filters = [*FILTERS, ["kind==active"], ["kind==committed"], ["parent==b1"], ["name==s1"]]
            return Step(SNAPSHOTS, verb, {**own, "filters": self._one(*filters)}, space)
        if verb == "Update":
            info = message("containerd.services.snapshots.v1.Info")(name=name, labels=self._labels())
            return Step(SNAPSHOTS, verb, {**own, "info": info, "update_mask": self._mask()}, space)
        return Step(SNAPSHOTS, verb, {**own, "key": name}, space)

    def _plugins(self) -> Step:
        wanted = self._one("type==io.containerd.snapshotter.v1,id==overlayfs", "type==nonsense")
        return Step(INTROSPECTION, "Plugins", {"filters": [wanted]}, self._spaces[0])


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
