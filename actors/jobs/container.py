"""A container's files, for the jobs that read them."""

from typing import Any

from actors import messages as m
from actors.jobs.context import Context
from storage.errors import FailedPreconditionError

_SHIFTED = "containerd.io/snapshot/uidmapping"


def files_of(context: Context, record: dict[str, Any]) -> dict[str, Any]:
    """How its root is mounted, and where its directories are."""
    snapshotter, key = record.get("snapshotter", ""), record["snapshot_key"]
    found: dict[str, Any] = context.call(m.SnapshotsMounts(context.namespace, key, snapshotter))
    return found


def changes_of(context: Context, record: dict[str, Any]) -> dict[str, Any]:
    """The same, of a root whose upper directory holds what has changed and nothing else.

    Raises:
        FailedPreconditionError: its snapshotter keeps changes and image in one tree, or its owners are
            shifted for a user namespace, so that they are not those of the image.
    """
    found = files_of(context, record)
    name, snapshotter = record["name"], record.get("snapshotter", "")
    if not found.get("stacked", True):
        raise FailedPreconditionError(
            f"container {name} is on {snapshotter}, which cannot tell what has changed"
        )
    stat = m.SnapshotsStat(context.namespace, record["snapshot_key"], snapshotter)
    if _SHIFTED in (context.call(stat).get("labels") or {}):
        raise FailedPreconditionError(
            f"container {name} has shifted owners, which cannot be put back in a layer"
        )
    return found
