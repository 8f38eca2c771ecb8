"""actr images umount: the end of images mount."""

from __future__ import annotations

from pathlib import Path

from cli.options import Command, Given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session


def run(session: Session, given: Given) -> int:
    """Unmount each directory and let go of its snapshot; doing it twice is fine."""
    from actors.linux import mounts
    from actors.linux.mountinfo import is_mount_point

    for argument in given.arguments:
        place = str(Path(argument).resolve())
        if is_mount_point(place):
            mounts.umount(place)
        body = {"namespace": session.namespace, "key": f"mount {place}"}
        session.ask("snapshots", "snapshots.remove", body)
        print(place)
    return 0


COMMAND = Command("images umount", "Unmount what images mount did", run, arguments=("DIRECTORY...",))
