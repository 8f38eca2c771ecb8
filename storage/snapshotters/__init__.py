"""Snapshotters: what a container's root file system is stacked from.

`contract` has the interface and its life-cycle; `overlay` is the default, `native` works on any file system.
"""

from storage.snapshotters.contract import Kind, Mount, Snapshot, Snapshotter, Usage
from storage.snapshotters.native import NativeSnapshotter
from storage.snapshotters.overlay import OverlaySnapshotter

__all__ = [
    "Kind",
    "Mount",
    "NativeSnapshotter",
    "OverlaySnapshotter",
    "Snapshot",
    "Snapshotter",
    "Usage",
]
