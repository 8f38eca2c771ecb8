"""Files out of a container whose actor ends while they come: sent anew, from the beginning."""

from __future__ import annotations

import io
import os
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from cli.cp import copy_out
from cli.options import UsageError
from cli.session import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 4096


def _tar(content: bytes) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            info = tarfile.TarInfo("file")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        return file.getvalue()


class _Session:
    """Whose stream is cut off after two pieces of the first archive, and then gives the second."""

    def __init__(self, first: bytes, second: bytes) -> None:
        self._pieces = [*self._cut(first)[:2], *self._cut(second)]

    @staticmethod
    def _cut(archive: bytes) -> list[tuple[int, bytes]]:
        return [(at, archive[at : at + PIECE]) for at in range(0, len(archive), PIECE)]

    def container(self, _name: str) -> dict[str, Any]:
        return {"actor": "container/default/c"}

    def stream(self, *_: Any, **__: Any) -> Iterator[Any]:
        for offset, piece in self._pieces:
            yield SimpleNamespace(kind="part", body={"offset": offset}, buffers=(piece,))
        yield SimpleNamespace(kind="final", body={}, buffers=())


def test_a_file_is_as_the_last_attempt_has_it(tmp: Path):
    session: Any = _Session(_tar(b"a" * 70_000), _tar(b"b" * 30_000))
    assert copy_out(session, "c", "/file", str(tmp / "file")) == 0
    assert (tmp / "file").read_bytes() == b"b" * 30_000


def test_a_link_stays_one_and_is_followed(tmp: Path):
    (tmp / "link").symlink_to("file")
    for content in (b"a" * 9000, b"b" * 9000):
        session: Any = _Session(_tar(content), _tar(content))
        assert copy_out(session, "c", "/file", str(tmp / "link")) == 0
        assert (tmp / "link").is_symlink()
        assert (tmp / "file").read_bytes() == content


def test_a_link_to_what_is_no_file_leads_to_no_harm(tmp: Path):
    os.mkfifo(tmp / "fifo")
    (tmp / "link").symlink_to("fifo")
    session: Any = _Session(_tar(b"x"), _tar(b"x"))
    with pytest.raises(UsageError, match="is no file or directory"):
        copy_out(session, "c", "/file", str(tmp / "link"))
    assert (tmp / "link").is_symlink()
    assert (tmp / "fifo").is_fifo()


def test_what_went_to_standard_output_is_not_followed_by_another_archive(capfdbinary: Any):
    archive = _tar(b"a" * 70_000)
    session: Any = _Session(archive, archive)
    with pytest.raises(RefusedError, match="run it again"):
        copy_out(session, "c", "/file", "-")
    assert archive.startswith(capfdbinary.readouterr().out)
