"""Every database below the daemon's root, with how new a schema of it this program knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from storage import journal
from storage.database import refuse_newer
from storage.metadata import schema as metadata
from storage.networks import schema as networks
from storage.snapshotters import records

KNOWN: Final[Mapping[str, int]] = {
    "metadata.db": len(metadata.MIGRATIONS),
    "events.db": len(journal.MIGRATIONS),
    "networks.db": len(networks.MIGRATIONS),
    "snapshots/metadata.db": len(records.MIGRATIONS),
    "snapshots-native/metadata.db": len(records.MIGRATIONS),
}


def refuse_newer_root(root: Path) -> None:
    """Look through them before a daemon starts.

    Raises:
        FailedPreconditionError: a newer actord has written one; the text says what to do.
    """
    for name, known in KNOWN.items():
        refuse_newer(root / name, known)
