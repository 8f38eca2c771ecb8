"""Records of the log: whatever somebody has said, one record stays one, and says where it is from."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import log_records
from actors.log_records import Json, Text, ToJournal
from actors.tracing import NOTHING, Cause, bound, current, of_birth, of_request
from transport import traces
from transport.envelope import request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FORGED = "x\n2026-05-31 12:00:00,123 ERROR   metadata/1[1] all is lost\r\x1b[2J\u2028\u202e\udc80"


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    log_records.identify("metadata", 3)
    token = current.set(NOTHING)
    yield
    current.reset(token)
    log_records.identify("zygote", 1)


def record(text: str, *given: object, error: Exception | None = None) -> logging.LogRecord:
    why = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("metadata", logging.WARNING, "f.py", 1, text, given, why)


def raised(text: str) -> ValueError:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}") as caught:
        raise ValueError(text)
    return caught.value


@given(st.text(), st.text(), st.text())
def test_no_text_looks_like_another_record(message: str, reason: str, container: str):
    current.set(Cause(TRACE, SPAN, "containers.get", container))
    line, *more = Text().format(record("%s", message, error=raised(reason))).split("\n")
    assert all(one.isprintable() for one in (line, *more))
    assert all(one.startswith("    ") for one in more), "what has several lines is indented"
    assert f"trace={TRACE} operation=containers.get" in line
    said = json.loads(Json().format(record("%s", message, error=raised(reason))))
    assert said["trace"] == TRACE


def test_a_forged_line_stays_in_its_own():
    line = Text().format(record("%s", FORGED))
    assert line.count("\n") == 0
    assert line.endswith(
        r"x\n2026-05-31 12:00:00,123 ERROR   metadata/1[1] all is lost\r\x1b[2J\u2028\u202e\udc80"
    )
    current.set(Cause(container="a trace=b\n"))
    assert r" container=a\x20trace=b\n: hello" in Text().format(record("hello"))


def test_json_has_every_field_and_nothing_empty():
    said = json.loads(Json().format(record("hello %d", 7)))
    assert said.keys() == {"time", "level", "actor", "incarnation", "pid", "message"}
    assert (said["level"], said["actor"], said["incarnation"]) == ("warning", "metadata", 3)
    log_records.identify("container/default/web", 1)
    said = json.loads(Json().format(record(FORGED, error=raised("no\nmore"))))
    assert (said["container"], said["logger"]) == ("web", "metadata")
    assert said["exception"].endswith("ValueError: no\nmore")
    assert len(Json().format(record("x" * 10**6, error=raised("y" * 10**6)))) < 3 * log_records.MOST


def entry(datagram: bytes) -> dict[str, str]:
    found = {}
    while datagram:
        name, rest = datagram.split(b"\n", 1)
        (length,) = struct.unpack("<Q", rest[:8])
        found[name.decode()] = rest[8 : 8 + length].decode()
        datagram = rest[9 + length :]
    return found


def test_the_journal_gets_fields_and_who_is_without_it_the_other_way(tmp: Path):
    lines: list[str] = []

    class Otherwise(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = ToJournal(str(tmp / "journal"), Otherwise())
    handler.handle(record("nobody listens"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp / "journal"))
        current.set(Cause(TRACE, SPAN, "tasks.start", "web"))
        handler.handle(record("%s", FORGED))
        found = entry(journal.recv(65536))
        for number in range(1000):  # nobody reads: the queue is full, and nobody waits for it
            handler.handle(record("%d", number))
    handler._own_socket().close()
    assert lines[0] == "nobody listens"
    assert lines[-1] == "999"
    assert found["MESSAGE"].startswith(r"x\n2026")
    assert (found["ACTOR"], found["INCARNATION"], found["PRIORITY"]) == ("metadata", "3", "4")
    assert (found["TRACE"], found["OPERATION"], found["CONTAINER"]) == (TRACE, "tasks.start", "web")


PROGRAM = """
import os, sys, threading, warnings
from actors import log_records
log_records.install("info", sys.argv[1], "/nowhere", os.environ)
def fail():
    raise ValueError("in a thread\\n2026-05-31 forged")
thread = threading.Thread(target=fail); thread.start(); thread.join()
warnings.warn("a warning\\nof two lines")
raise ValueError("at last\\n2026-05-31 forged")
"""


@pytest.mark.parametrize("how", ["text", "json"])
def test_what_the_interpreter_says_by_itself_are_records_too(how: str):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    begun = [line for line in lines if line[:1] not in (" ", "")]
    assert done.returncode == 1
    assert len(begun) == 3
    if how == "json":
        assert [json.loads(line)["level"] for line in lines] == ["error", "warning", "error"]
    else:
        assert all(" zygote/1[" in line for line in begun)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TRACE, (TRACE, "")),
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN)),
        (f"cc-{TRACE}-{SPAN}-00", (TRACE, SPAN)),
        (f"00-{TRACE}-{'0' * 16}-01", (TRACE, "")),
        (f"ff-{TRACE}-{SPAN}-01", ("", "")),
        ("0" * 32, ("", "")),
        (TRACE.upper(), ("", "")),
        (f"{TRACE}\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_traces_as_w3c_has_them(text: str, found: tuple[str, str]):
    assert traces.read(text) == found


def test_a_cause_goes_on_with_what_is_asked_for_it():
    asked = request("metadata", "containers.get", {}, trace=f"00-{TRACE}-{SPAN}-01")
    cause = of_request(asked, type("Body", (), {"id": "web"})())
    assert cause == Cause(TRACE, asked.id[:8].hex(), "containers.get", "web", SPAN)
    assert cause.carried() == f"00-{TRACE}-{asked.id[:8].hex()}-01"
    assert of_birth(cause.carried())[:2] == (TRACE, cause.span)
    assert of_birth("") is NOTHING
    assert not of_request(request("metadata", "images.list", {}, trace="junk"), None).carried()
    assert bound(test_traces_as_w3c_has_them) is test_traces_as_w3c_has_them, (
        "what has no cause costs nothing"
    )
    current.set(cause)
    function = bound(current.get)
    current.set(NOTHING)
    assert function() == cause


UNREAD = """
import logging, os, sys
from actors import log_records
log_records.install("info", "text", "/nowhere", os.environ)
for number in range(5000):
    logging.warning("%d %s", number, "x" * 100)
print("went on", flush=True)
sys.stdin.readline()
logging.warning("read again")
"""


@pytest.mark.parametrize("kind", ["pipe", "socket", "terminal"])
def test_a_log_that_nobody_reads_holds_nobody_up(kind: str):
    reader, writer = {"pipe": os.pipe, "socket": _socketpair, "terminal": _terminal}[kind]()
    command = [sys.executable, "-c", UNREAD]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": writer}
    with subprocess.Popen(command, **streams) as process, process.stdin as stdin, process.stdout as stdout:
        try:
            assert select.select([stdout], [], [], 20)[0], "it waits for somebody to read its log"
            os.close(writer)
            said = _whatever_is_there(reader)
            stdin.write(b"\n")
            stdin.flush()
            process.wait(20)
            said += _whatever_is_there(reader)
        finally:
            process.kill()
    lines = said.replace(b"\r", b"").decode().splitlines()
    written = [line for line in lines if line.endswith("x" * 100)]
    told = re.findall(r" (\d+) records were dropped", said.decode())
    assert told  # a terminal moves on by itself, and has room now and then
    assert len(written) + sum(map(int, told)) == 5000
    assert lines[-1].endswith("read again")
    assert len(lines) == len(written) + len(told) + 1


def _socketpair() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _terminal() -> tuple[int, int]:
    return os.openpty()


def _whatever_is_there(reader: int) -> bytes:
    found = b""
    os.set_blocking(reader, False)
    with contextlib.suppress(OSError):  # nothing more for now, or nobody is there any more
        while more := os.read(reader, 65536):
            found += more
    return found
