"""Snapshots as plain copies, for file systems on which overlayfs does not work.

Each active snapshot begins as a full copy of its parent; where the file system can share blocks between
files (btrfs, xfs), the copy takes only inodes.
"""

import os
from pathlib import Path

from storage.snapshotters.contract import Kind, Mount
from storage.snapshotters.directory import DirectorySnapshotter
from storage.snapshotters.ids import Shift, shift_of
from storage.snapshotters.records import Record
from storage.snapshotters.trees import copy_tree


class NativeSnapshotter(DirectorySnapshotter):
    """The copying snapshotter at `root`."""

    name = "native"
    stacked = False

    def _fill(self, directory: Path, kind: Kind, parents: tuple[int, ...], shift: Shift) -> None:
        files = directory / "fs"
        files.mkdir()
        files.chmod(0o755)  # whatever the umask
        if parents and (kind == "active" or shift):
            copy_tree(self._directory(parents[0]) / "fs", files, shift)
        elif shift:
            os.chown(files, *shift.owner(0, 0))

    def _mounts(self, record: Record, parents: tuple[int, ...]) -> tuple[Mount, ...]:
        active = record.snapshot.kind == "active"
        # A view shows its parent's files as they are: they never change. Shifted ones are its own.
        own = active or not parents or shift_of(record.snapshot.labels)
        shown = record.id if own else parents[0]
        source = (self._directory(shown) / "fs").absolute()
        return (Mount("bind", str(source), ("rbind", "rw" if active else "ro")),)
