"""Loggers of containerd's kind: addresses, and the pipes that outlive them."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from typing import TYPE_CHECKING

import pytest

from actors.runtime import log_program
from actors.runtime.binary_logger import BinaryLogger, Program, parse
from actors.runtime.errors import InvalidSpecError
from chaos.left import children

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_and_values_become_arguments_in_their_order():
    assert parse("binary:///usr/bin/log?id=x&flag&to=%2Fvar%2Flog") == Program(
        "/usr/bin/log", ("id", "x", "flag", "to", "/var/log")
    )
    assert parse("binary:///usr/bin/log") == Program("/usr/bin/log")


@pytest.mark.parametrize(
    "address",
    [
        "binary://host/path", "file:///x", "binary:path", "binary:///a\0b", "", "binary:///a%00b",
        "binary:///a?b=%00", "binary://[", f"binary:///a?{'&'.join('x' * 2000)}",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(address: str):
    with pytest.raises(InvalidSpecError, match="is not of the form binary:///path"):
        parse(address)


def test_what_one_has_not_read_waits_for_the_next(tmp: Path):
    program = tmp / "logger"
    program.write_text(
        '#!/bin/sh\necho "$CONTAINER_NAMESPACE/$CONTAINER_ID" >> "$1"\n'
        'exec 5>&-\nexec head -c 3 <&3 >> "$1"\n'
    )
    program.chmod(0o755)
    out = tmp / "out"
    logger = BinaryLogger(Program(str(program), (str(out),)), tmp / "pipes", "one", "default")
    try:
        os.write(logger.ends[1], b"abcdef")
        for started in range(2):
            assert not logger.is_running()
            assert logger.start()
            wait_for_end(logger)
            assert logger.unread() == 3 - 3 * started
        assert out.read_text() == "default/one\nabcdefault/one\ndef"
    finally:
        logger.close()


@pytest.fixture
def many_descriptors():
    """As an actor has them that has some hundred execs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))  # a login has 1,024
    with contextlib.ExitStack() as taken:
        for _ in range(1100):
            taken.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
def test_one_starts_beside_more_descriptors_than_select_can_name(tmp: Path):
    program, out = tmp / "logger", tmp / "out"
    program.write_text('#!/bin/sh\nexec 5>&-\nexec cat <&3 >> "$1"\n')
    program.chmod(0o755)
    logger = BinaryLogger(Program(str(program), (str(out),)), tmp / "pipes", "one", "default")
    try:
        assert logger.start()
        os.write(logger.ends[1], b"abc")
        logger.end()
        wait_for_end(logger)
    finally:
        logger.close()
    with log_program.ends(f"binary://{program}?{out}", "default", "one") as ends:
        os.write(ends[1], b"def")
        child = children(os.getpid())[-1]
    os.waitpid(child, 0)
    assert out.read_text() == "abcdef"


def wait_for_end(logger: BinaryLogger) -> None:
    end = time.monotonic() + 20
    while logger.is_running():
        assert time.monotonic() < end
        time.sleep(0.01)
    own = logger._own
    assert own is not None
    os.waitpid(own.pid, 0)
