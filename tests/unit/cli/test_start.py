"""The start of a command: by which Python, what it imports, and what it says before it asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.test_cli_run import created

ROOT = Path(__file__).resolve().parents[3]
DEAR = {
    "os",
    "re",
    "enum",
    "typing",
    "socket",
    "signal",
    "struct",
    "json",
    "pathlib",
    "contextlib",
    "threading",
}
SHOWN = """
import sys
sys.path.append(sys.argv[1])
from cli.main import main
code = main(sys.argv[2:])
print(*sys.modules)
raise SystemExit(code)
"""


def run(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("words", [["run", "--rm", "busybox", "true"], ["exec", "web", "true"], ["version"]])
def test_what_a_command_imports(daemon, words):
    daemon.on["containers.create"] = created
    daemon.answers("tasks.output", {"exit_code": 0})
    for op in ("tasks.exec", "tasks.exec_delete", "introspection.version"):
        daemon.answers(op, {})
    loaded = set(run(sys.executable, "-I", "-S", "-c", SHOWN, ROOT, *words).split())
    assert "transport.client" in loaded
    assert not loaded & DEAR
    assert daemon.told == []  # each message is waited for


@pytest.fixture
def checkout(tmp):
    (tmp / "bin").mkdir()
    (tmp / "bin/actr").write_bytes((ROOT / "bin/actr").read_bytes())
    (tmp / "bin/actr").chmod(0o755)
    (tmp / "cli").mkdir()
    for name in ("__init__.py", "checkout.py"):
        (tmp / "cli" / name).write_bytes((ROOT / "cli" / name).read_bytes())
    return tmp


def test_it_is_found_by_way_of_links(tmp):
    (tmp / "one").symlink_to(ROOT / "bin/actr")
    (tmp / "two").symlink_to("one")
    expected = run(ROOT / "bin/actr", "version", "--client")
    assert run(tmp / "two", "version", "--client") == expected
    assert run("sh", "-c", f"cd {ROOT}/bin && ./actr version --client") == expected


def test_a_checkout_without_its_python_packages_says_so(checkout):
    text = f"actr: {checkout}/.venv is missing: run sudo bin/quickstart (or sudo bin/setup) in {checkout}\n"
    assert run(checkout / "bin/actr", "version", code=1) == text


def test_a_python_of_another_version_goes_on(checkout):
    python = checkout / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n')
    python.chmod(0o755)
    started = checkout / "bin/actr"
    assert run(started, "run", "-e", "A=1") == f"-IS -X again {started} run -e A=1\n"
    python.unlink()
    python.symlink_to(sys.executable)  # which has no packages here either
    assert "/.venv is missing: run sudo bin/quickstart" in run(started, "version", code=1)


def test_nothing_of_the_caller_is_run(tmp):
    (tmp / "cli.py").write_text("raise SystemExit(99)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp), "PYTHONSTARTUP": str(tmp / "cli.py")}
    done = subprocess.run(
        [ROOT / "bin/actr", "version", "--client"], cwd=tmp, env=environment, check=False, capture_output=True
    )
    assert done.returncode == 0


@pytest.mark.parametrize(("trap", "code", "out"), [("", -signal.SIGINT, ""), ("trap '' INT; ", 0, "went on")])
def test_an_interrupt_before_there_is_work(checkout, trap, code, out):
    """A Ctrl-C while modules are loaded is no traceback, and one that is to be ignored is."""
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGINT); os.write(1, b'went on'); os._exit(0)"
    (checkout / "cli/checkout.py").write_text(stop)
    command = ["sh", "-c", f'{trap}exec "$0"', checkout / "bin/actr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, "")


def closed(which: str, *words: str) -> subprocess.CompletedProcess[str]:
    """bin/actr by a caller who has closed a standard stream, or given one that is full."""
    command = ["sh", "-c", f'exec "$0" "$@" {which}', ROOT / "bin/actr", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("which", "words", "code", "out", "err"),
    [
        (">&-", ["version", "--client"], 0, "", ""),
        (">&- 2>&- <&-", ["version", "--client"], 0, "", ""),
        ("2>&-", ["nonsense"], 2, "", ""),
        ("<&-", ["login", "-u", "me", "h"], 2, "", "standard input is no terminal"),
        ("<&-", ["login", "-u", "me", "--password-stdin", "h"], 2, "", "the password is empty"),
        (">/dev/full", ["--help"], 1, "", "actr: standard output: No space left on device\n"),
        ("2>/dev/full", [], 2, "", ""),
        ("2>/dev/full", ["nonsense"], 2, "", ""),
        ("2>/dev/full", ["--address", "/nowhere", "ps"], 1, "", ""),
        ("2>/dev/full", ["--debug", "version", "--client"], 0, "client  0.1.0\n", ""),
        (">/dev/full 2>/dev/full", ["--help"], 1, "", ""),
        (">/dev/full", ["version", "--client"], 1, "", "actr: standard output: No space left on device\n"),
    ],
)
def test_standard_streams_that_are_closed_or_full(which, words, code, out, err):
    done = closed(which, *words)
    assert (done.returncode, done.stdout) == (code, out)
    assert err in done.stderr
    assert "Traceback" not in done.stderr


def test_standard_input_that_is_closed_is_no_file_of_ours(daemon):
    """The first file that is opened would have its number, and would be what a container reads."""
    came = {}
    daemon.on["containers.create"] = created

    def note(asked):
        came[asked.op] = asked
        if asked.op != "tasks.output":
            asked.fin()
        if len(came) == 2:  # whichever comes first: they come over two connections
            came["tasks.output"].fin({"exit_code": 0, "exited_at": 1, "error": ""})

    for op in ("tasks.output", "tasks.input", "tasks.close_io"):
        daemon.on[op] = note
    assert closed("<&-", "run", "--rm", "-i", "busybox", "cat").returncode == 0
    assert "tasks.close_io" in daemon.ops()
    assert "tasks.input" not in daemon.ops()
