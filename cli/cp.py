"""actr cp: copy files into or out of a container, running or not."""

from __future__ import annotations

import os
import stat
import sys

from cli.options import Command, Given, UsageError
from cli.session import RefusedError
from transport.errors import RemoteError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from cli.session import Session

PIECE = 1 << 18  # bytes
CREDIT = 4 << 20  # bytes under way at once
LIMIT = 600.0  # seconds


def run(session: Session, given: Given) -> int:
    """One of the two is CONTAINER:PATH; the other is a path here, or `-` for a tar on our own streams."""
    source, target = given.arguments
    if _is_inside(source) == _is_inside(target):
        raise UsageError("cp wants one CONTAINER:PATH and one path here, or - for a tar")
    inside, outside = (source, target) if _is_inside(source) else (target, source)
    name, _, path = inside.partition(":")
    if not path or not outside:
        raise UsageError("cp: a path is empty; / is all of a container, . the current directory")
    return (
        copy_out(session, name, path, outside) if inside is source else copy_in(session, outside, name, path)
    )


def _is_inside(word: str) -> bool:
    return ":" in word and not word.startswith((".", "/"))


def copy_out(session: Session, name: str, path: str, target: str) -> int:
    """From the container. What it sends is unpacked like any stranger's archive."""
    from tempfile import TemporaryFile

    if target != "-":
        target = _place(target)
    actor = session.container(name)["actor"]
    with TemporaryFile() as file:
        take = file.write if target != "-" else sys.stdout.buffer.write
        taken = 0
        for message in session.stream(actor, "files.get", {"path": path}, credit=CREDIT):
            if message.kind == "final":
                break
            if message.body["offset"] != taken:  # by another incarnation of the actor: from the beginning
                if target == "-":
                    raise _cut_off(name)
                file.seek(message.body["offset"])
                file.truncate()
            for piece in message.buffers:
                take(piece)
            taken = message.body["offset"] + sum(map(len, message.buffers))
        if target != "-":
            file.seek(0)
            # Of these the archive has what is in the directory, and not the directory.
            _unpack_here(file, target, contents=path.endswith("/.") or not path.strip("/"))
    return 0


def _place(target: str) -> str:
    """Where it leads, if it is a link.

    Raises:
        UsageError: a device, a FIFO or a socket would be replaced by a file, for everybody.
    """
    place = os.path.realpath(target) if os.path.islink(target) else target  # noqa: PTH114
    try:
        kind = os.lstat(place).st_mode
    except OSError:  # not there, or what is wrong is said when it is made
        return place
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise UsageError(f"cp: {target} is no file or directory: give - for a tar on standard output")
    return place


def _cut_off(name: str) -> RefusedError:
    text = f"the files of {name} were cut off, and what has been written cannot be taken back: run it again"
    return RefusedError(RemoteError("unavailable", text, outcome="unknown"), "files.get", {})


def _unpack_here(file: IO[bytes], target: str, *, contents: bool) -> None:
    """As ours: without the owners, set-id bits and devices that the container chose."""
    from actors.linux.openat2 import open_in_root
    from storage.layer.transplant import Landing, unpack

    there = os.path.isdir(target)  # noqa: PTH112  # pathlib is 4 ms
    if contents and not there:
        os.mkdir(target)  # noqa: PTH102
        there = True
    path = os.path.abspath(target)  # noqa: PTH100
    directory, top = (path, "") if there else os.path.split(path)
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        owner = (os.geteuid(), os.getegid())
        landing = Landing(root, b"/", os.fsencode(top), owner=owner)
        unpack(lambda: file.read(PIECE), landing, open_in_root=open_in_root)
    finally:
        os.close(root)


def copy_in(session: Session, source: str, name: str, path: str) -> int:
    """Into the container, as root's."""
    from tempfile import TemporaryFile

    actor = session.container(name)["actor"]
    with TemporaryFile() as file:
        archive: IO[bytes] = file
        if source == "-":
            archive = sys.stdin.buffer
        else:
            _pack_here(source, file)
            file.seek(0)
        _upload(session, actor, path, archive, contents=source.endswith("/."))
    return 0


def _pack_here(source: str, file: IO[bytes]) -> None:
    import tarfile

    def as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        name = os.path.basename(os.path.abspath(source))  # noqa: PTH100, PTH119
        archive.add(source, arcname=name or "root", filter=as_root)


def _upload(session: Session, actor: str, path: str, archive: IO[bytes], *, contents: bool) -> None:
    """Piece by piece; each may be sent again."""
    upload, offset = os.urandom(16).hex(), 0
    piece = archive.read(PIECE)
    while True:
        following = archive.read(PIECE) if piece else b""
        body = {"upload": upload, "path": path, "offset": offset, "data": piece}
        body |= {"last": not following, "contents": contents}
        session.ask(actor, "files.put", body, limit=LIMIT)
        if not following:
            return
        offset += len(piece)
        piece = following


COMMAND = Command(
    "cp",
    "Copy files into or out of a container",
    run,
    arguments=("SOURCE", "TARGET"),
)
