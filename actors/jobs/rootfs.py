"""Roots without layers: the changes of a container, its whole root as a tar, and an image from such a tar."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from actors import messages as m
from actors.jobs.container import changes_of, files_of, shift_of_snapshot
from actors.jobs.context import Context
from actors.jobs.layers import TYPES, copy_plain
from actors.jobs.lent import LentStream, is_file
from actors.linux import mounts
from actors.linux.borrow import Lent
from actors.linux.mount_options import MS_PRIVATE, MS_REC
from actors.linux.mount_values import Mount, read_only
from actors.linux.openat2 import open_in_root
from actors.linux.threads import CLONE_NEWNS, in_own_thread
from storage.archive.docker import build_manifest
from storage.archive.layout import encode
from storage.archive.writing import write_all
from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.image.changes import apply_changes
from storage.image.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from storage.layer.changes import changes
from storage.layer.compression import READ_BYTES, open_blob
from storage.layer.diff import write_layer
from storage.reference import Reference


@dataclass(frozen=True, slots=True)
class DiffWish:
    """Whose changes to list, as lines of JSON `[kind, path]` into a descriptor."""

    container: str
    target: Lent


@dataclass(frozen=True, slots=True)
class ExportWish:
    """Whose root to write as a tar into a descriptor."""

    container: str
    target: Lent
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class ImportWish:
    """A tar of a root, compressed or not, and the name of the image to make of it."""

    source: Lent
    target: str
    message: str = ""
    changes: list[str] = field(default_factory=list)
    platform: str = ""


def diff(context: Context, wish: DiffWish) -> dict[str, Any]:
    """List the changes; gives how many there are."""
    record = context.call(m.ContainersGet(context.namespace, wish.container))
    place = changes_of(context, record)
    lowers = [Path(path) for path in place["lowers"]]
    fd = context.borrow(wish.target, writes=True, fresh=True)
    count = 0
    try:
        for change in changes(Path(place["upper"]), lowers, open_in_root=open_in_root):
            count += 1
            path = "/" + change.path.decode("utf-8", "backslashreplace")
            write_all(fd, (json.dumps([change.kind, path]) + "\n").encode())
    finally:
        os.close(fd)
    return {"changes": count}


def export(context: Context, wish: ExportWish) -> dict[str, Any]:
    """Write the merged root as a tar; gives its digest, size and entries."""
    record = context.call(m.ContainersGet(context.namespace, wish.container))
    place, back = files_of(context, record), shift_of_snapshot(context, record).back()
    fd = context.borrow(wish.target, writes=True, fresh=wish.fresh)
    sent = 0

    def write(data: bytes) -> None:
        nonlocal sent
        write_all(fd, data)
        sent += len(data)
        context.moved(record["name"], "exporting", sent)

    try:
        written = with_root(
            context.settings.state / "exported",
            place["mounts"],
            lambda root: write_layer(root, write, open_in_root=open_in_root, owner=back.owner),
        )
        if is_file(fd):
            os.fsync(fd)
    except BrokenPipeError as error:
        raise FailedPreconditionError("nobody reads the archive any more") from error
    finally:
        os.close(fd)
    return {"digest": written.diff_id, "size": written.size, "entries": written.entries}


def with_root(directory: Path, how: list[dict[str, Any]], work: Callable[[Path], Any]) -> Any:
    """Run `work` on the merged root, mounted read-only on `directory`, where nobody else sees it.

    So each export may have the same directory, and whoever is killed leaves nothing that is his alone.
    """

    def mounted() -> Any:
        mounts.mount("", "/", "", MS_REC | MS_PRIVATE)
        directory.mkdir(mode=0o700, exist_ok=True)
        try:
            for one in how:
                value = Mount(
                    type=one["type"],
                    source=one["source"],
                    options=tuple(one["options"]),
                    base=one.get("base") or None,
                )
                mounts.mount_one(read_only(value), str(directory))
            return work(directory)
        finally:
            # All of it: what a mount with shifted owners is made of lies below it.
            mounts.umount_stack(str(directory))

    return in_own_thread(CLONE_NEWNS, mounted)


def import_root(context: Context, wish: ImportWish) -> dict[str, Any]:
    """Make an image of one layer from a tar; gives its record."""
    target = str(Reference.parse(wish.target))
    suits = context.platform(wish.platform)
    settings = apply_changes({}, wish.changes)
    fd = context.borrow(wish.source)
    try:
        source = LentStream(fd)

        def produce(write: Callable[[bytes], None]) -> None:
            while data := source.read(READ_BYTES):
                write(data)

        blob = context.keep_unknown("root", context.limits.total_bytes, OCI_LAYER, produce)
    finally:
        os.close(fd)
    if not blob.size:
        raise InvalidArgumentError("the archive is empty")
    hasher = hashlib.sha256()
    with context.store.open(blob.digest) as stored:
        copy_plain(stored, hasher.update, context.limits)
    with context.store.open(blob.digest) as stored:
        layer = replace(blob, media_type=TYPES[open_blob(stored).compression])
    config = {
        **suits.to_dict(),
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hasher.hexdigest()}"]},
        "history": [{"created_by": "actr import", **({"comment": wish.message} if wish.message else {})}],
    }
    stored_config = context.keep_bytes(encode(config), OCI_CONFIG)
    root = context.keep_bytes(build_manifest(stored_config, [layer]), OCI_MANIFEST)
    context.unpack(context.chosen(root))
    return context.name(target, root)
