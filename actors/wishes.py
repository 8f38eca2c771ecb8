"""Which child of the supervisor a client's wish means: the same wish of many is one transfer."""

import hashlib
from dataclasses import asdict
from typing import Any, Final

from actors import messages as m
from actors.supervision.spec_check import args_problem
from storage.names import check_identifier
from storage.reference import Reference
from transport.errors import RemoteError
from transport.registry.endpoint import check_host

CONTAINERS: Final = "containers"
HOMES: Final = {"container": CONTAINERS, "puller": "pullers", "job": "jobs"}
"""The supervisor of each kind of child that is started by name."""
MOST_TOLD: Final = 32 << 10  # bytes of what goes to the zygote beside the arguments
_AT_A_HOST: Final = ("catalogue", "login")
_NO_PART_OF_IT: Final = ("namespace", "brings_login")


def checked(body: m.ChildrenStart) -> str:
    """The supervisor that a child belongs to. Raises RemoteError, StorageError."""
    home = HOMES.get(body.kind)
    if home is None:
        raise RemoteError("invalid_argument", f"no child of kind {body.kind!r} can be started by name")
    namespace, own = (str(body.args.get(key, "")) for key in ("namespace", "id"))
    check_identifier("namespace", namespace)
    if body.kind == "container":
        check_identifier("container id", own)
        if body.name != f"container/{namespace}/{own}":
            raise RemoteError("invalid_argument", f"{body.name!r} is not the name of container {own}")
    if problem := args_problem(body.told, MOST_TOLD):
        raise RemoteError("invalid_argument", f"what {body.name!r} is told: {problem}")
    return home


def transfer(body: m.TransfersStart) -> m.ChildrenStart:
    """One puller for each wish, however many have it. No argument of it is a secret. Raises StorageError."""
    if body.task in _AT_A_HOST:
        check_host(body.reference)
        names = {"reference": body.reference}
    else:
        names = {"reference": str(Reference.parse(body.reference))}
        names["target"] = str(Reference.parse(body.target)) if body.target else ""
    wish: dict[str, Any] = {**asdict(body), **names}
    apart = {key: value for key, value in wish.items() if key not in _NO_PART_OF_IT}
    digest = hashlib.sha256(repr(sorted(apart.items())).encode()).hexdigest()[:12]
    return m.ChildrenStart("puller", f"puller/{body.namespace}/{digest}", wish)


def job(body: m.JobsStart) -> m.ChildrenStart:
    """One actor for each id. Raises StorageError."""
    check_identifier("job id", body.id)
    wish = {"namespace": body.namespace, "work": body.work, "args": body.args}
    return m.ChildrenStart("job", f"job/{body.namespace}/{body.id}", wish)
