"""Snapshots as plain copies, for file systems on which overlayfs does not work.

Each active snapshot begins as a full copy of its parent; where the file system can share blocks between
files (btrfs, xfs), the copy takes only inodes.
"""

from pathlib import Path

from storage.snapshotters.contract import Kind, Mount
from storage.snapshotters.directory import DirectorySnapshotter
from storage.snapshotters.records import Record
from storage.snapshotters.trees import copy_tree


class NativeSnapshotter(DirectorySnapshotter):
    """The copying snapshotter at `root`."""

    name = "native"
    stacked = False

    def _fill(self, directory: Path, kind: Kind, parents: tuple[int, ...]) -> None:
        files = directory / "fs"
        files.mkdir()
        files.chmod(0o755)  # whatever the umask
        if kind == "active" and parents:
            copy_tree(self._directory(parents[0]) / "fs", files)

    def _mounts(self, record: Record, parents: tuple[int, ...]) -> tuple[Mount, ...]:
        active = record.snapshot.kind == "active"
        # A view shows its parent's files as they are: they never change.
        shown = record.id if active or not parents else parents[0]
        source = (self._directory(shown) / "fs").absolute()
        return (Mount("bind", str(source), ("rbind", "rw" if active else "ro")),)
