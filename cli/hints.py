"""What to do about an error: the next command, from the error's code and what was asked. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ELSEWHERE = {
    "bash": "exec",
    "container": "ps",
    "containers": "ps",
    "delete": "rm",
    "describe": "inspect",
    "enter": "exec",
    "image": "images",
    "list": "ps",
    "ls": "ps",
    "remove": "rm",
    "sh": "exec",
    "shell": "exec",
    "show": "inspect",
    "status": "info",
    "task": "ps",
    "tasks": "ps",
}
"""What other programs call commands of ours."""
FROM_NODE = "from a node"  # a transfer that asks no registry
_IN_DOUBT = "see whether it was done before you repeat it"


def hint(code: str, op: str, body: dict[str, Any], *, outcome: str = "not_started") -> str:
    """A short suggestion, or an empty text when there is none to give."""
    special = _OF_OPERATION.get((code, FROM_NODE if body.get("node") else op))
    if special is not None:
        return special.format(**{"name": "NAME", "image": "IMAGE", **_subject(op, body)})
    if outcome == "unknown" and code in ("unavailable", "deadline_exceeded"):
        return f"{_IN_DOUBT}; what the daemon does: actr actors"
    return _OF_CODE.get(code, "")


def _subject(op: str, body: dict[str, Any]) -> dict[str, str]:
    """The names in a request that a suggestion may need."""
    found = {key: str(body[key]) for key in ("name", "id", "image", "node") if body.get(key)}
    if op.startswith("images."):
        found["image"] = str(body.get("name") or body.get("reference") or "IMAGE")
    found.setdefault("name", found.get("id", "NAME"))
    return found


_OF_OPERATION = {
    ("not_found", "images.get"): "pull it first: actr pull {image}",
    ("not_found", "containers.create"): "pull it first: actr pull {image}",
    ("not_found", "images.delete"): "list what there is: actr images",
    ("not_found", "containers.get"): "list what there is: actr ps -a",
    ("not_found", "jobs.attach"): "list what there is: actr images, actr ps -a",
    ("not_found", "transfers.attach"): "check the name, and that the registry has it",
    ("not_found", FROM_NODE): "see what nodes have: actr node ls, actr --node {node} images",
    ("unavailable", FROM_NODE): "see whether it answers: actr node ls",
    ("not_found", "tasks.exec"): "list what runs: actr ps",
    ("already_exists", "containers.create"): "for example: actr rm -f {name}",
    ("failed_precondition", "images.delete"): "or: actr rmi -f {image}",
    ("failed_precondition", "containers.remove"): "stop it first (actr stop), or: actr rm -f",
    ("failed_precondition", "tasks.exec"): "start it first: actr start",
    ("failed_precondition", "tasks.kill"): "see its state: actr ps -a",
    ("unavailable", "transfers.attach"): "check that the registry runs, and the host and port in the name",
    ("permission_denied", "transfers.attach"): "check the name, and the credentials for this registry",
}
_OF_CODE = {
    "unavailable": "try again, or see what the daemon does: actr actors",
    "overloaded": "try again in a moment",
    "deadline_exceeded": "try again, or see what the daemon does: actr actors",
    "not_implemented": "compare the versions: actr version",
    "internal": "the daemon's log says more",
}
