"""What the documentation has a reader type, typed: each `$` line of a page, in order, at a real daemon.

Output is compared where the page shows some: `…` in a line is anything, a line that is only `…` any lines.
Unless it ends with `echo $?`, a command must end with 0.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from daemon import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon import Daemon
    from registry import Registry

pytestmark = pytest.mark.root
PAGES = ("docs/tutorial.md", "docs/howto.md")
LIMIT = 60  # seconds that one line may take
END = "--end of what was typed--"


@dataclass
class Typed:
    """One command of a page, and what the page says that it prints."""

    command: str
    line: int
    output: list[str] = field(default_factory=list)

    def pattern(self) -> str:
        """The output as an expression."""
        parts = []
        for text in self.output:
            if text == "…":
                parts.append(r"(?:.*\n)*?")
            else:
                words = re.split(r"\s{2,}", text) if "  " in text else [text]
                parts.append(r"\s+".join(map(_inside, words)) + r"\n")
        return "".join(parts)


def _inside(text: str) -> str:
    return ".*".join(map(re.escape, text.split("…")))


def typed_in(text: str) -> list[Typed]:
    """Of a page."""
    found: list[Typed] = []
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("    $ "):
            found.append(Typed(line[6:], number))
            inside = True
        elif inside and line.startswith("    "):
            found[-1].output.append(line[4:].strip())
        else:
            inside = False
    return found


class Shell:
    """One bash, which keeps its variables and its directory."""

    def __init__(self, directory: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["timeout", "300", "bash", "--norc"], cwd=directory, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, command: str) -> tuple[int, str]:
        """The exit code, and all that was printed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{{ {command}\n}} </dev/null; printf '%s %d\\n' '{END}' $?\n")
        self._process.stdin.flush()
        said = []
        while not (line := self._process.stdout.readline()).startswith(END):
            assert line, f"the shell has ended in {command}: {''.join(said)}"
            said.append(line)
        return int(line.split()[-1]), "".join(said)

    def close(self) -> None:
        self._process.communicate("exit\n", timeout=20)


@pytest.fixture
def shell(own_daemon: Daemon, registry: Registry, busybox: str, tmp: Path) -> Iterator[Shell]:
    for place in (tmp, tmp.parent):  # with --userns, root of a container is nobody out here
        place.chmod(0o711)
    (tmp / "home").mkdir()
    env = {
        "PATH": f"{CHECKOUT}/bin:{os.environ['PATH']}",
        "HOME": str(tmp / "home"),
        "ACTORD_ADDRESS": str(own_daemon.state / "actord.sock"),
        "IMAGE": busybox,
        "REGISTRY": registry.host,
        "METRICS": f"127.0.0.1:{(own_daemon.state / 'metrics.port').read_text()}",
        "CHECKOUT": str(CHECKOUT),
    }
    found = Shell(tmp / "home", env)
    yield found
    found.close()
    for one in own_daemon.json("ps", "-a"):
        own_daemon.actr("rm", "-f", one["id"])
    own_daemon.actr("network", "prune")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, shell: Shell):
    typed = typed_in((CHECKOUT / page).read_text())
    assert len(typed) > 15
    for one in typed:
        code, said = shell.type(one.command)
        where = f"{page}:{one.line}: {one.command}\nprinted ({code}):\n{said}"
        if "$?" not in one.command:
            assert code == 0, where
        if one.output:
            tidy = re.sub(r"(?m)^[ \t]+|[ \t]+$", "", said)
            assert re.fullmatch(one.pattern(), tidy), f"{where}\nnot as the page shows it:\n{one.pattern()}"


def test_a_page_is_read_as_it_is_meant():
    [one] = typed_in("text\n\n    $ ls\n    a …\n    …\n    z\n\n    no command\n")
    assert (one.command, one.line, one.output) == ("ls", 3, ["a …", "…", "z"])
    assert re.fullmatch(one.pattern(), "a file\nb\nc\nz\n")
    assert not re.fullmatch(one.pattern(), "b\nz\n")
