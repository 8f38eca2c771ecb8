"""Snapshots on overlayfs, the default: each holds only what differs from its parents.

Facts: a mount's options are limited to one page, so they name the layers relative to the directory that
holds them; overlayfs wants at least two lower directories unless there is an upper one, so a single layer
is a bind mount (Documentation/filesystems/overlayfs.rst).
"""

import time
from collections.abc import Callable
from pathlib import Path

from storage.errors import FailedPreconditionError, InvalidArgumentError
from storage.snapshotters.contract import Kind, Mount
from storage.snapshotters.directory import DirectorySnapshotter, sync_everything
from storage.snapshotters.ids import Shift, shift_of
from storage.snapshotters.records import Record
from storage.snapshotters.trees import copy_attributes

_OPTIONS_BYTES = 4095  # a page less the terminating zero
_LOWERS = 500  # the kernel's own limit, OVL_MAX_STACK


class OverlaySnapshotter(DirectorySnapshotter):
    """The overlayfs snapshotter at `root`.

    `userxattr` is for a daemon in a user namespace, where trusted.* attributes cannot be set.
    """

    name = "overlayfs"
    stacked = True

    def __init__(
        self,
        root: Path,
        *,
        userxattr: bool = False,
        sync: Callable[[Path], None] = sync_everything,
        clock: Callable[[], int] = time.time_ns,
        reader: bool = False,
    ) -> None:
        if set(str(root)) & set(":,\\"):
            raise InvalidArgumentError(
                f'overlayfs cannot name "{root}": use a root without ":", "," and "\\"'
            )
        # Off: layers are shared by many mounts, which an index forbids, and are copied between machines.
        self._flags = ("index=off", "userxattr") if userxattr else ("index=off",)
        super().__init__(root.absolute(), sync=sync, clock=clock, reader=reader)

    def _fill(self, directory: Path, kind: Kind, parents: tuple[int, ...], shift: Shift) -> None:
        files = directory / "fs"
        files.mkdir()
        files.chmod(0o755)  # whatever the umask
        if kind == "active":
            (directory / "work").mkdir(mode=0o700)
        if parents:
            # The root directory of the merged tree has the attributes of the upper one.
            copy_attributes(self._directory(parents[0]) / "fs", files, shift)

    def _mounts(self, record: Record, parents: tuple[int, ...]) -> tuple[Mount, ...]:
        active = record.snapshot.kind == "active"
        shift = shift_of(record.snapshot.labels)
        if not parents:
            return (_bind(self._directory(record.id) / "fs", "rw" if active else "ro", shift),)
        if len(parents) == 1 and not active:
            return (_bind(self._directory(parents[0]) / "fs", "ro", shift),)
        return (self._overlay(record, parents),)

    def _overlay(self, record: Record, parents: tuple[int, ...]) -> Mount:
        shift = shift_of(record.snapshot.labels)
        options = (
            *self._flags,
            *shift.options,
            "lowerdir=" + ":".join(f"{identity}/fs" for identity in parents),
        )
        if record.snapshot.kind == "active":
            options += (f"upperdir={record.id}/fs", f"workdir={record.id}/work")
        if len(parents) > _LOWERS or len(",".join(options)) > _OPTIONS_BYTES:
            raise FailedPreconditionError(
                f'snapshot "{record.snapshot.key}" has {len(parents)} layers, too many for one mount: '
                "flatten the image"
            )
        return Mount("overlay", "overlay", options, base=str(self._snapshots))


def _bind(source: Path, access: str, shift: Shift) -> Mount:
    return Mount("bind", str(source), ("rbind", access, *shift.options))
