"""Disks that go wrong: an ext4 of our own that can be filled to its last block, and errors of the device."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

SIZE: Final = 768 << 20  # bytes; sparse
BLOCK: Final = 4096
ATTACHED: Final = 5.0  # seconds
FAILING: Final = "fsync,fdatasync,syncfs,pwrite64,pread64"
"""System calls of the stores on files; those on sockets have other names."""


class Disk:
    """A file with an ext4, mounted at a directory."""

    def __init__(self, image: Path, place: Path) -> None:
        self._image, self._place = image, place
        self._ballast = place / "ballast"

    def mount(self) -> None:
        """Make it and mount it. Raises subprocess.CalledProcessError."""
        with self._image.open("wb") as file:
            file.truncate(SIZE)
        self._place.mkdir(parents=True, exist_ok=True)
        _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(self._image))
        _run("mount", "-o", "loop", str(self._image), str(self._place))
        (self._place / "lost+found").rmdir()

    def unmount(self) -> None:
        """Take it away, whoever still uses it."""
        _run("umount", "--lazy", str(self._place))

    def fill(self) -> None:
        """Take every free block."""
        with self._ballast.open("ab") as file:
            at, step = os.fstat(file.fileno()).st_size, SIZE
            while step >= BLOCK:
                try:
                    os.posix_fallocate(file.fileno(), at, step)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    step //= 2
                else:
                    at += step

    def free(self) -> None:
        """Give them back."""
        self._ballast.unlink(missing_ok=True)


class FailingCalls:
    """Makes a process's system calls on its files fail with EIO, until the `end`."""

    def __init__(self, pid: int) -> None:
        failing = ["-e", f"trace={FAILING}", "-e", f"inject={FAILING}:error=EIO"]
        words = ["strace", "-f", "-p", str(pid), "-o", "/dev/null", *failing]
        self._process = subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        if self._process.stderr is not None:
            self._process.stderr.readline()  # it is attached; or the end, when there is no such process

    def end(self) -> None:
        """Let them be."""
        self._process.terminate()
        try:
            self._process.wait(ATTACHED)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
