"""Transfers between registries and this machine: the supervisor starts one, its puller has the rest."""

from dataclasses import dataclass, field
from typing import Literal

from actors.messages.declare import Labels, Number, SnapshotterName, operation

Task = Literal["pull", "push", "copy", "tags", "catalogue", "describe", "referrers", "delete", "login"]


@operation("transfers.start", "supervisor", repeatable=True)
@dataclass(frozen=True, slots=True)
class TransfersStart:
    """Start a transfer, or join the same one in flight. Answer: `actor`, to be asked to attach.

    Attributes:
        task: pull an image; push one that is here, or copy one from `reference`, to `target`; or ask the
            registry for its tags, its catalogue of repositories, a manifest (describe), what refers to one
            (referrers), the removal of one (delete), or whether it accepts a login.
        reference: the image; for `catalogue` and `login` the registry's host.
        target: where to push or copy to, when that is not `reference`.
        all_platforms: pull what an index has for others too.
        node: pull what this joined node has under the name, from it, and ask no registry.
        chunk: bytes in one request of a push, 0 for a blob in one.
        brings_login: whoever attaches brings a login with it: wait for that.
        plain_http: speak to the registry of `reference` (or `target`) without TLS.
        id: sets a transfer apart from the same one of somebody else.
    """

    namespace: str
    task: Task
    reference: str
    target: str = ""
    platform: str = ""
    snapshotter: SnapshotterName = ""
    all_platforms: bool = False
    node: str = ""
    chunk: Number = 0
    brings_login: bool = False
    plain_http: bool = False
    id: str = ""


@operation("transfers.attach", "puller", repeatable=True, streams=True)
@dataclass(frozen=True, slots=True)
class TransfersAttach:
    """Progress as PART, then the result as the final answer: of a pull, the image.

    Cancelled by the last one who attached, the transfer ends; what has arrived is kept.

    Attributes:
        logins: by registry host, each with username and password, or identity_token. They are used for that
            host and no other, and kept in the memory of this one process only.
    """

    logins: dict[str, Labels] = field(default_factory=dict, repr=False)
