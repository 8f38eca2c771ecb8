"""How any process of this host ends, as the kernel's process connector tells (linux/cn_proc.h).

An exit status is for the parent. Before Linux 6.15 others learn it only so, if they are to leave the process
alone. The kernel tells of all processes and their threads; a filter, in the kernel too, drops those of whom
nobody here wants to know, so that they wake nobody.
"""

import contextlib
import ctypes
import errno
import os
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

_NETLINK_CONNECTOR, _CN_IDX_PROC, _CN_VAL_PROC = 11, 1, 1
_NLMSG_DONE, _LISTEN, _IGNORE = 3, 1, 2
_ANSWER, _EXIT = 0, 0x80000000
_KERNEL = 0

# nlmsghdr, cn_msg and an operation. Of what comes, behind these: what, cpu, time; process, its group, status.
_ORDER: Final = struct.Struct("=IHHII IIIIHH I")
_EVENT: Final = struct.Struct("=16x20x IIQ III")
_WHAT_AT, _GROUP_AT = 36, 56

# linux/bpf_common.h: load a word, jump if it equals, return so many bytes; one of struct sock_filter.
_LOAD, _IF_EQUAL, _SKIP, _RETURN, _ALL = 0x20, 0x15, 0x05, 0x06, 0xFFFFFFFF
_FARTHEST = 250  # instructions that a comparison may skip are 255
_INSTRUCTION: Final = struct.Struct("=HBBI")
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_QUEUE = 4 << 20  # bytes of events that may wait for us
MOST_NAMED: Final = 500
"""Of more processes the ends of all on the host are let pass: a socket has little room for its filter."""


@dataclass(frozen=True, slots=True)
class ExitEvent:
    """The end of one thread of a process; what the last one tells is how the process has ended.

    Attributes:
        pid: of the process.
        status: as wait(2) gives it.
        at: nanoseconds by a clock that begins with the kernel.
    """

    pid: int
    status: int
    at: int


class ExitEvents:
    """A socket that listens. What waits in it is not lost when another process is given it."""

    def __init__(self, pids: Collection[int], inherited: int | None = None) -> None:
        """Of these processes, as `only`. `inherited`: one that listens already, and is this one's now.

        Raises:
            OSError: the kernel does not tell us. EPERM: only root of the first namespaces of pids and users.
                ECONNREFUSED, EPROTONOSUPPORT: only in the first network namespace; or it cannot at all.
        """
        if inherited is None:
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
        else:
            self.socket = socket.socket(fileno=inherited)
        try:
            self.socket.setblocking(False)
            if inherited is None:
                self._begin()
            self.only(pids)
        except OSError:
            self.socket.close()
            raise

    def _begin(self) -> None:
        """The kernel has answered when `sendto` returns. From other namespaces it is not even refused."""
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
        self.only(())
        self.socket.bind((0, _CN_IDX_PROC))
        self._order(_LISTEN)
        try:
            _, _, _, error, _, _ = _EVENT.unpack_from(self.socket.recv(_EVENT.size))
        except BlockingIOError:
            error = errno.EPERM
        if error:
            raise OSError(error, os.strerror(error))

    def _order(self, operation: int) -> None:
        fields = (_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0, operation)
        self.socket.sendto(_ORDER.pack(_ORDER.size, _NLMSG_DONE, 0, 0, 0, *fields), (_KERNEL, 0))

    def only(self, pids: Collection[int]) -> None:
        """From now on of these alone, all at once: nothing is missed of one that was wanted before, too."""
        program = _program(pids if len(pids) <= MOST_NAMED else None)
        room = ctypes.create_string_buffer(program)
        fields = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(room))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fields)

    def first(self) -> ExitEvent | None:
        """The one that has waited for longest, which stays; None without one. What is none is dropped.

        Raises:
            OSError: ENOBUFS: some were lost, as nobody listened for too long. The next call is fine.
        """
        while True:
            try:
                datagram, (sender, _) = self.socket.recvfrom(256, socket.MSG_PEEK)
            except BlockingIOError:
                return None
            if sender == _KERNEL and len(datagram) >= _EVENT.size:
                what, _, at, _, pid, status = _EVENT.unpack_from(datagram)
                if what == _EXIT:
                    return ExitEvent(pid, status, at)
            self.drop_first()

    def drop_first(self) -> None:
        """It has been heeded."""
        self.socket.recv(1)

    def end(self) -> None:
        """Nobody listens with this socket any more, whoever else has it."""
        with contextlib.suppress(OSError):  # else older kernels count one who listens for ever
            self._order(_IGNORE)
        self.socket.close()


def _program(pids: Collection[int] | None) -> bytes:
    """For the filter: answers pass, and the ends of these processes (None: of all).

    It loads words in the network's order; what it looks at is in the host's.
    """
    let_pass, drop = (_RETURN, 0, 0, _ALL), (_RETURN, 0, 0, 0)
    steps = [(_LOAD, 0, 0, _WHAT_AT), (_IF_EQUAL, 0, 1, socket.htonl(_ANSWER)), let_pass]
    steps += [(_IF_EQUAL, 1, 0, socket.htonl(_EXIT)), drop]
    if pids is None:
        steps.append(let_pass)
    else:
        steps.append((_LOAD, 0, 0, _GROUP_AT))
        words = [socket.htonl(pid) for pid in pids]
        for some in (words[at : at + _FARTHEST] for at in range(0, len(words), _FARTHEST)):
            steps += [(_IF_EQUAL, len(some) - at, 0, word) for at, word in enumerate(some)]
            steps += [(_SKIP, 0, 0, 1), let_pass]
        steps.append(drop)
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)
