"""The packet filter, through nft(8): rules are loaded and listed as text."""

import os

from actors.linux.spawn import spawn

PROGRAM = "nft"
_MOST_SAID = 2000  # characters of a complaint


class FilterError(Exception):
    """nft refused, or is not there; the text is its first complaint."""


def load(text: str) -> None:
    """Carry out a script: all of it, in one transaction, or nothing.

    Raises:
        FilterError: it was refused; nothing has changed.
    """
    _nft(("-f", "-"), text)


def table(name: str) -> str:
    """How the kernel has the table `inet NAME`; empty when there is none.

    Raises:
        FilterError: nft failed for another reason.
    """
    try:
        return _nft(("-n", "-s", "list", "table", "inet", name))
    except FilterError as error:
        if "No such file" in str(error):
            return ""
        raise


def _nft(words: tuple[str, ...], text: str = "") -> str:
    """In files of memory, not in pipes: neither side can be made to wait for the other."""
    names = ("script", "said", "complaint")
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in names]
    try:
        os.write(files[0], text.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        pid = spawn((PROGRAM, *words), stdin=files[0], stdout=files[1], stderr=files[2])
        status = os.waitpid(pid, 0)[1]
        said, complaint = (_content(one) for one in files[1:])
    except FileNotFoundError as error:
        raise FilterError("nft is missing: apt-get install nftables") from error
    finally:
        for one in files:
            os.close(one)
    if status:
        raise FilterError(f"nft: {complaint.strip()[:_MOST_SAID] or f'ended with status {status}'}")
    return said


def _content(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="replace")
