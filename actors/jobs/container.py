"""A container's files, for the jobs that read them."""

from typing import Any

from actors import messages as m
from actors.jobs.context import Context
from actors.runtime import id_ranges
from actors.runtime.bundle import find_image
from storage.errors import FailedPreconditionError
from storage.snapshotters.ids import Shift, shift_of
from transport.errors import RemoteError


def files_of(context: Context, record: dict[str, Any]) -> dict[str, Any]:
    """How its root is mounted, and where its directories are.

    One that has never been started has not got them yet: then they are made, as its start would, which uses
    them. Whoever removes it meanwhile leaves them to the collector.

    Raises:
        FailedPreconditionError: it has none at all.
    """
    snapshotter, key = record.get("snapshotter", ""), record["snapshot_key"]
    try:
        found: dict[str, Any] = context.call(m.SnapshotsMounts(context.namespace, key, snapshotter))
    except RemoteError as error:
        if error.code != "not_found":
            raise
        if not record["image"] or record["options"].get("foreign"):
            text = f"container {record['name']} has no files of ours: whoever made its root knows of them"
            raise FailedPreconditionError(text) from error
        found = context.call(_wanted(context, record))
    return found


def _wanted(context: Context, record: dict[str, Any]) -> m.SnapshotsPrepare:
    """The snapshot that its bundle would be made from."""
    options = record["options"]
    image = find_image(context.settings.content, record["image_digest"], options.get("platform", ""))
    ids = id_ranges.parse(options.get("userns", ""))
    labels = ids.shift.labels if ids else {}
    return m.SnapshotsPrepare(
        context.namespace, record["snapshot_key"], image.chain_id, labels, snapshotter=record["snapshotter"]
    )


def changes_of(context: Context, record: dict[str, Any]) -> dict[str, Any]:
    """The same, of a root whose upper directory holds what has changed and nothing else.

    Raises:
        FailedPreconditionError: its snapshotter keeps changes and image in one tree.
    """
    found = files_of(context, record)
    name, snapshotter = record["name"], record.get("snapshotter", "")
    if not found.get("stacked", True):
        raise FailedPreconditionError(
            f"container {name} is on {snapshotter}, which cannot tell what has changed"
        )
    return found


def shift_of_snapshot(context: Context, record: dict[str, Any]) -> Shift:
    """From the owners that the image knows to those that its files have for a user namespace."""
    stat = m.SnapshotsStat(context.namespace, record["snapshot_key"], record.get("snapshotter", ""))
    return shift_of(context.call(stat).get("labels") or {})
