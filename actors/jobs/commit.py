"""Commit: what a container has changed, as one more layer of a new image.

The container stands still while its files are read, unless that is not wanted: it is frozen for a time that
has to be renewed, so that nothing which dies on the way leaves it frozen.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors import messages as m
from actors.jobs.container import changes_of, shift_of_snapshot
from actors.jobs.context import Context
from actors.jobs.layers import make_layer
from actors.linux.openat2 import open_in_root
from storage.archive.docker import build_manifest
from storage.archive.layout import encode
from storage.descriptor import Descriptor
from storage.digest import Digest
from storage.image.changes import apply_changes
from storage.image.contents import Part
from storage.image.document import MAX_DOCUMENT_SIZE
from storage.image.manifest import parse_manifest
from storage.image.media_types import OCI_CONFIG, OCI_MANIFEST
from storage.layer.diff import write_layer
from storage.reference import Reference
from transport.errors import RemoteError

FROZEN_FOR = 30.0  # seconds
RENEW_AFTER = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class CommitWish:
    """What to commit. `changes` are instructions such as `CMD ["sh"]`; see storage/image/changes.py."""

    container: str
    target: str
    message: str = ""
    author: str = ""
    changes: list[str] = field(default_factory=list)
    compression: str = "gzip"
    pause: bool = True


def commit(context: Context, wish: CommitWish) -> dict[str, Any]:
    """Make the image and name it; gives its record.

    Raises:
        RemoteError: there is no such container.
        StorageError: its files cannot be read, or changed while they were.
    """
    target = str(Reference.parse(wish.target))
    apply_changes({}, wish.changes)
    record = context.call(m.ContainersGet(context.namespace, wish.container))
    part = context.chosen(image_root(context, record), str(record["options"].get("platform") or ""))
    place, back = changes_of(context, record), shift_of_snapshot(context, record).back()
    with standing_still(context, record, wish.pause) as renew:

        def produce(put: Any) -> None:
            def write(data: bytes) -> None:
                renew()
                put(data)

            write_layer(Path(place["upper"]), write, open_in_root=open_in_root, owner=back.owner)

        layer, diff_id = make_layer(context, f"commit {record['id']}", wish.compression, produce)
    config = _config(context, part, diff_id, record, wish)
    stored = context.keep_bytes(config, OCI_CONFIG)
    manifest = build_manifest(stored, [*part.manifest.layers, layer])
    root = context.keep_bytes(manifest, OCI_MANIFEST)
    context.unpack(context.chosen(root))
    return context.name(target, root)


def image_root(context: Context, record: dict[str, Any]) -> Descriptor:
    """The root of the image that a container was made from, whatever its name points at by now."""
    digest = Digest.parse(record["image_digest"])
    content = context.store.read(digest, MAX_DOCUMENT_SIZE)
    return Descriptor(parse_manifest(content).media_type, digest, len(content))


@contextmanager
def standing_still(context: Context, record: dict[str, Any], wanted: bool) -> Iterator[Any]:
    """Freeze a container that runs; gives what has to be called every few seconds."""
    running = bool(record["task"]) and record["task"]["status"] == "running"
    if not (wanted and running):
        yield lambda: None
        return
    actor, renewed = record["actor"], time.monotonic()
    holder = context.job  # also of an earlier attempt, which has died since
    _freeze(context, record, m.TasksFreeze(FROZEN_FOR, holder))

    def renew() -> None:
        nonlocal renewed
        if time.monotonic() - renewed > RENEW_AFTER:
            renewed = time.monotonic()
            _freeze(context, record, m.TasksFreeze(FROZEN_FOR, holder, again=True))

    try:
        context.at("commit", "frozen")
        yield renew
        # Who has gone on meanwhile may have changed its files: then this is refused.
        _freeze(context, record, m.TasksFreeze(FROZEN_FOR, holder, again=True))
    finally:
        with suppress(RemoteError):  # it has gone; or nobody renews it, and it goes on by itself
            context.call(m.TasksThaw(holder), to=actor)


def _freeze(context: Context, record: dict[str, Any], freeze: m.TasksFreeze) -> None:
    """Have it stand still for a while, as one does that has ended meanwhile. Raises RemoteError."""
    try:
        context.call(freeze, to=record["actor"])
    except RemoteError as error:
        if error.code != "failed_precondition":
            raise
        if context.call(m.TasksState(), to=record["actor"])["phase"] != "exited":
            raise


def _config(context: Context, part: Part, diff_id: Digest, record: dict[str, Any], wish: CommitWish) -> bytes:
    """The parent's config with one more layer, the changes, and a line of history."""
    document = json.loads(context.store.read(part.manifest.config.digest, MAX_DOCUMENT_SIZE))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    history = {"created": now, "created_by": f"actr commit {record['name']}"}
    history |= {"comment": wish.message} if wish.message else {}
    history |= {"author": wish.author} if wish.author else {}
    document["created"] = now
    document |= {"author": wish.author} if wish.author else {}
    document["config"] = apply_changes(document.get("config") or {}, wish.changes)
    document["history"] = [*(document.get("history") or []), history]
    document["rootfs"] = {**document["rootfs"], "diff_ids": [*document["rootfs"]["diff_ids"], str(diff_id)]}
    for name in ("container", "container_config", "docker_version", "id", "parent"):
        document.pop(name, None)  # Docker's notes on the image that this no longer is
    return encode(document)
