"""What takes output in: each line once, whatever a crash leaves of its books."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.journal import Journal
from actors.delivery.json_file import NAME, JsonFile
from actors.delivery.sink import LONGEST, Line, Lines, NotNowError, Progress
from actors.linux.process import descriptor_count
from actors.runtime.cutting import Limits
from actors.runtime.output import Chunk

if TYPE_CHECKING:
    from pathlib import Path


def lines_of(pieces: list[bytes]) -> list[Line]:
    found: list[Line] = []
    lines, offset = Lines(found.append), 0
    for piece in pieces:
        lines.put(Chunk(1, offset, offset + len(piece), 7), piece)
        lines.flush()
        offset += len(piece)
    lines.complete()
    lines.flush()
    assert lines.sent.get(1, 0) == offset
    return found


@given(st.lists(st.binary(max_size=20).map(lambda text: text.replace(b"\xff", b"\n")), max_size=12))
def test_lines_are_the_same_however_the_bytes_came(pieces: list[bytes]):
    whole = b"".join(pieces)
    found = lines_of([piece for piece in pieces if piece])
    assert b"".join(line.text for line in found) == whole
    assert [line.text for line in found] == [line.text for line in lines_of([whole] if whole else [])]
    assert all(line.text.count(b"\n") <= 1 for line in found)


def test_a_long_line_comes_in_parts():
    found = lines_of([b"x" * (LONGEST + 5), b"y\n"])
    assert [(len(line.text), line.partial, line.end) for line in found] == [
        (LONGEST, True, LONGEST),
        (7, False, LONGEST + 7),
    ]


def test_what_is_not_taken_now_is_offered_again():
    taken: list[bytes] = []
    willing = False

    def send(line: Line) -> None:
        if not willing:
            raise NotNowError("away")
        taken.append(line.text)

    lines = Lines(send)
    lines.put(Chunk(2, 0, 4, 0), b"a\nb\n")
    with pytest.raises(NotNowError):
        lines.flush()
    willing = True
    assert lines.flush()
    assert taken == [b"a\n", b"b\n"]


def test_what_is_missing_is_said_in_its_place():
    found: list[Line] = []
    lines = Lines(found.append)
    lines.put(Chunk(1, 0, 4, 0), b"open")
    lines.put(Chunk(1, 10, 10, 0, cut=6), b"")
    lines.put(Chunk(1, 10, 12, 0), b"z\n")
    lines.flush()
    assert [line.text for line in found] == [b"open", b"actord: 6 bytes of stdout are missing here\n", b"z\n"]


@pytest.mark.parametrize("full", ["note", "file"])
def test_a_full_disk_in_the_middle_of_a_rotation_costs_and_doubles_nothing(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, full: str
):
    sink = JsonFile(tmp, Limits(200, 3))
    before = descriptor_count(os.getpid())
    room = [True]

    def refused(function: Any, *given: Any, **more: Any) -> Any:
        if not room[0]:
            raise OSError(errno.ENOSPC, "no space left on device")
        return function(*given, **more)

    save, opened = Progress.save, os.open
    if full == "note":
        monkeypatch.setattr(Progress, "save", lambda progress: refused(save, progress))
    else:
        monkeypatch.setattr("actors.delivery.json_file.os.open", lambda *given: refused(opened, *given))
    offset = 0
    for number in range(4):
        text = f"{number} {'x' * 100}\n".encode()
        sink.put(Chunk(1, offset, offset + len(text), 7), text)
        offset += len(text)
        room[0] = number == 0
        for _ in range(3 if number else 0):
            with pytest.raises(NotNowError, match="no space left"):
                sink.flush()
        room[0] = True
        sink.flush()
    assert descriptor_count(os.getpid()) == before
    sink.close()
    files = [tmp / f"{NAME}.2", tmp / f"{NAME}.1", tmp / NAME]
    assert [json.loads(file.read_text())["log"][0] for file in files] == ["1", "2", "3"]


def test_a_full_disk_does_not_send_a_line_to_the_journal_twice(tmp: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp / "socket"))
        journal.setblocking(False)
        sink = Journal(tmp, str(tmp / "socket"), {})

        def full(_: Progress) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        sink.put(Chunk(1, 0, 4, 7), b"one\n")
        with monkeypatch.context() as patched:
            patched.setattr(Progress, "save", full)
            for _ in range(2):
                with pytest.raises(NotNowError, match="no space left"):
                    sink.flush()
        assert b"one" in journal.recv(4096)
        sink.flush()
        sink.close()
        with pytest.raises(BlockingIOError):
            journal.recv(4096)
    assert Progress(tmp / "journal.progress").offsets == {1: 4, 2: 0}


def test_a_socket_that_is_no_journal_is_waited_for_as_one_that_is_away(tmp: Path):
    """The setting may name any, /run/systemd/journal/stdout say: each start of an actor would end there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(tmp / "socket"))
        other.listen()
        sink = Journal(tmp, str(tmp / "socket"), {})
        sink.put(Chunk(1, 0, 4, 7), b"one\n")
        with pytest.raises(NotNowError, match="wrong type for socket"):
            sink.flush()
    (tmp / "socket").unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp / "socket"))
        sink.flush()
        assert b"one" in journal.recv(4096)
    sink.close()


class KilledError(BaseException):
    """Where a kill is played."""


@pytest.mark.parametrize("limits", [None, Limits(4096, 3)])
@pytest.mark.parametrize("first", [False, True])
def test_a_kill_between_the_file_and_its_books_costs_and_doubles_nothing(
    tmp: Path, limits: Limits | None, first: bool, monkeypatch: pytest.MonkeyPatch
):
    """Every second write ends before the books are saved; `first`: also before those of a rotation are."""
    for step in range(60):
        sink = JsonFile(tmp, limits)
        taken = sink.taken()[1]
        text = b"".join(b"%07d\n" % number for number in range(taken // 8, taken // 8 + 3))
        sink.put(Chunk(1, taken, taken + len(text), 0), text)
        save = Progress.save

        def killed(books: Progress) -> None:
            if first or books.more["size"]:
                raise KilledError
            save(books)  # noqa: B023

        with monkeypatch.context() as patched, contextlib.suppress(KilledError):
            if step % 2:
                patched.setattr(Progress, "save", killed)
            sink.flush()
        sink.close()
    JsonFile(tmp, limits).close()
    files = [tmp / f"{NAME}.2", tmp / f"{NAME}.1", tmp / NAME]
    items = [json.loads(line) for file in files if file.exists() for line in file.read_text().splitlines()]
    numbers = [int(item["log"]) for item in items]
    assert numbers == list(range(90)), "30 writes of 3 lines each, each of them once"
