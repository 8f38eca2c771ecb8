"""What a spawned program gets, and what it must not get."""

import json
import os
import signal
import sys

import pytest

from actors.linux import process, spawn

LIST = (
    "import fcntl, json, os\n"
    "def is_open(fd):\n"
    "    try: return fcntl.fcntl(fd, fcntl.F_GETFD) >= 0\n"
    "    except OSError: return False\n"
    "print(json.dumps([fd for fd in range(1024) if is_open(fd)]))"
)


def run(argv, **options):
    """Spawn with its standard output in a pipe; what it wrote and its exit code."""
    reader, writer = os.pipe()
    pid = spawn.spawn(argv, stdout=writer, **options)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    return text, process.exit_code(os.waitpid(pid, 0)[1])


def is_inheritable(descriptor):
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # the listing itself
        return False


def status_field(text, name):
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}:"))
    return line.split()[1]


def test_output_and_exit_code():
    assert run(["sh", "-c", "echo hello; exit 3"]) == ("hello\n", 3)
    assert run(["sh", "-c", "kill -TERM $$"]) == ("", 143)


def test_signals_are_as_after_boot():
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
    try:
        text, _ = run(["cat", "/proc/self/status"])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    # 32 and 33 belong to the C library, which lets nobody set them: the caller of the tests may ignore them.
    assert int(status_field(text, "SigIgn"), 16) & ~(0b11 << 31) == 0
    assert int(status_field(text, "SigBlk"), 16) == 0


def test_standard_streams_are_dev_null_unless_given():
    text, _ = run(["sh", "-c", "readlink /proc/self/fd/0 /proc/self/fd/2"])
    assert text == "/dev/null\n/dev/null\n"


def test_nothing_but_what_was_named_is_inherited():
    # What whoever started the tests left inheritable is not for us to judge.
    before = {fd for fd in process.open_descriptors() if is_inheritable(fd)}
    stray = os.open(os.devnull, os.O_RDONLY)
    text, _ = run([sys.executable, "-c", LIST], inherit={70: stray})
    os.close(stray)
    assert set(json.loads(text)) - before - {0, 1, 2} == {70}


def test_numbers_may_overlap_in_any_order():
    first, second = os.pipe(), os.pipe()
    # Each target number is the source of the other one.
    swapped = {first[1]: second[1], second[1]: first[1]}
    code = f"import os; os.write({first[1]}, b'to-second'); os.write({second[1]}, b'to-first')"
    pid = spawn.spawn([sys.executable, "-c", code], inherit=swapped)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(first[0], 100) == b"to-first"
    assert os.read(second[0], 100) == b"to-second"
    for descriptor in (*first, *second):
        os.close(descriptor)


def test_error_output_may_be_the_parents_standard_output():
    code = (
        "import os; from actors.linux import spawn\n"
        "pid = spawn.spawn(['sh', '-c', 'echo out; echo err >&2'], stdout=2, stderr=1)\n"
        "os.waitpid(pid, 0)"
    )
    text, exit_code = run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "."})
    assert (text, exit_code) == ("err\n", 0)


def test_a_session_of_its_own():
    text, _ = run(["sh", "-c", "cut -d' ' -f6 /proc/$$/stat; echo $$"], new_session=True)
    session, pid = text.split()
    assert session == pid
    text, _ = run(["cut", "-d ", "-f6", "/proc/self/stat"])
    assert int(text) == os.getsid(0)


def test_the_environment_is_what_was_given():
    assert run(["/usr/bin/env"], env={"A": "1", "B": ""}) == ("A=1\nB=\n", 0)


@pytest.mark.parametrize(
    ("program", "error"), [("no-such-program", FileNotFoundError), ("/etc", PermissionError)]
)
def test_a_program_that_cannot_start_is_an_error_and_leaks_nothing(program, error):
    before = process.descriptor_count(os.getpid())
    with pytest.raises(error):
        spawn.spawn([program], stdin=0, inherit={9: 1})
    assert process.descriptor_count(os.getpid()) == before


def test_a_closed_descriptor_is_an_error_and_leaks_nothing():
    reader, writer = os.pipe()
    os.close(writer)
    before = process.descriptor_count(os.getpid())
    with pytest.raises(OSError, match="Bad file descriptor"):
        spawn.spawn(["true"], stdin=reader, stdout=writer)
    assert process.descriptor_count(os.getpid()) == before
    os.close(reader)
