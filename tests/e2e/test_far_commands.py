"""Every command of `actr` at another node. One that is added has to say here how, or why not."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import pytest
from lab import AT, Lab, lab

from cli.main import COMMANDS, command, member
from cli.options import Group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

HOME = "is for the daemon's own host only"
LENDS = "run it on the daemon's host"
LOCAL = {
    "load": LENDS,
    "save": LENDS,
    "import": LENDS,
    "containerd import": LENDS,
    "export": LENDS,
    "diff": LENDS,
    "images mount": LENDS,
    "images umount": HOME,
    "system backup": HOME,
}
"""Those that work with a file, pipe or directory of the daemon's own host: they are refused, and say so."""
UNTOUCHED = {
    "completion": "prints a script, and asks nobody",
    "logout": "forgets a login in the caller's own file, and asks nobody",
}


@dataclass(frozen=True)
class Step:
    """What is typed after `actr --node NAME`, what has to be in its output, and its exit code."""

    typed: str
    says: str = ""
    code: int = 0
    stdin: str = ""

    @property
    def command(self) -> str:
        """The verb, with its group."""
        words = self.typed.split()
        found = command(words[0])
        if not isinstance(found, Group):
            return words[0]
        return f"{words[0]} {words[1]}"


CONTAINERS = (
    Step("pull -q {image}", "{image}"),
    Step("run --rm {image} echo hi", "hi"),
    Step("create --name c -p 8080:80 {image} sleep 300"),
    Step("spec c", "ociVersion"),
    Step("start c", "c"),
    Step("port c", "8080"),
    Step("exec c echo there", "there"),
    Step("ps", "c"),
    Step("inspect c", "sleep"),
    Step("pause c", "c"),
    Step("unpause c", "c"),
    Step("update --memory 64m c", "c"),
    Step("stats --no-stream c", "c"),
    Step("top c", "sleep 300"),
    Step("top --no-stream", "c"),
    Step("tree", "router"),
    Step("cp {file} c:/copied"),
    Step("exec c cat /copied", "precious"),
    Step("cp c:/copied {file}.back"),
    Step("checkpoint c {there}/checkpoint", "criu", 1),
    Step("rename c d", "d"),
    Step("restart -t 0 d", "d"),
    Step("kill -s KILL d", "d"),
    Step("wait d", "137"),
    Step("logs d"),
    Step("restore d {there}/checkpoint", "", 1),
    Step("start d", "d"),
    Step("diff d", LENDS, 1),
    Step("export -o {file}.tar d", LENDS, 1),
    Step("stop -t 0 d", "d"),
    Step("commit -q d made:1"),
    Step("rm d", "d"),
    Step("run -d --name a {image} sh -c seen"),
    Step("rm -f a", "a"),
    Step("run -d -i --name e {image} head -n 1"),
    Step("attach e", "", 0, "typed\n"),
    Step("rm -f e"),
)
IMAGES = (
    Step("pull -q --from h2 {image}", "{image}"),
    Step("images ls", "busybox"),
    Step("images inspect {image}", "layers"),
    Step("images check {image}", "busybox"),
    Step("images usage {image}"),
    Step("images convert -q --compression none {image} plain:1"),
    Step("images mount {image} {there}/mounted", LENDS, 1),
    Step("images umount {there}/mounted", HOME, 1),
    Step("history {image}", "layer 0"),
    Step("tag {image} {at}/pushed:1"),
    Step("push -q {at}/pushed:1", "sha256:"),
    Step("copy -q {at}/pushed:1 {at}/copied:1", "sha256:"),
    Step("tags {at}/copied", "1"),
    Step("search {at}", "copied"),
    Step("login -u me --password-stdin {at}", "", 0, "secret"),
    Step("save -o {file}.tar {image}", LENDS, 1),
    Step("load -i {file}", LENDS, 1),
    Step("import {file} imported:1", LENDS, 1),
    Step("containerd import --root /", LENDS, 1),
    Step("content ls", "sha256:"),
    Step("content info {digest}", "size"),
    Step("content label {digest} a=b", "b"),
    Step("content ingests", "REF"),
    Step("content abort nothing", "nothing"),
    Step("leases create kept", "kept"),
    Step("leases add kept content {digest}"),
    Step("leases resources kept", "{digest}"),
    Step("leases ls", "kept"),
    Step("leases rm kept", "kept"),
    Step("content rm {digest}", "{digest}"),
    Step("rmi plain:1", "plain:1"),
)
NETWORKS = (
    Step("pull -q {image}"),
    Step("volume create v", "v"),
    Step("volume ls", "v"),
    Step("volume inspect v", "v"),
    Step("volume rm v", "v"),
    Step("volume prune"),
    Step("network create n", "n"),
    Step("network ls", "n"),
    Step("network inspect n", "n"),
    Step("run -d --name c {image} sleep 300"),
    Step("network connect n c"),
    Step("network disconnect n c"),
    Step("network check"),
    Step("rm -f c", "c"),
    Step("network rm n", "n"),
    Step("network prune"),
)
DAEMON = (
    Step("system df", "blobs"),
    Step("system gc"),
    Step("system check"),
    Step("system repair"),
    Step("system backup {there}/backup", HOME, 1),
    Step("system prune"),
    Step("keys new -o {file}.json k"),
    Step("keys ls", "k"),
    Step("keys allow other {public}", "other"),
    Step("keys revoke other", "other"),
    Step("node join --name again {file}.json", "again"),
    Step("node ls", "again"),
    Step("node leave again", "again"),
    Step("events --no-follow"),
    Step("actors", "router"),
    Step("info", "h5"),
    Step("version", "0."),
    Step("doctor"),
    Step("chaos list", "failpoints are off", 1),
)
AT_NODE = {"h2": CONTAINERS, "h3": IMAGES, "h4": NETWORKS, "h5": DAEMON}


def every_command() -> set[str]:
    """As the command line's own table has them."""
    found: set[str] = set()
    for name in COMMANDS:
        one = command(name)
        found |= {member(one, verb).name for verb in one.verbs} if isinstance(one, Group) else {one.name}
    return found


def test_every_command_is_here():
    tried = {step.command for steps in AT_NODE.values() for step in steps}
    assert tried | UNTOUCHED.keys() == every_command()
    assert LOCAL.keys() <= tried


@pytest.fixture(scope="module")
def five(short_root: Path) -> Iterator[Lab]:
    with lab(5, short_root / "five") as found:
        yield found


@pytest.fixture(scope="module")
def image(five: Lab) -> str:
    """One that h2 has pulled."""
    found = five.publish("busybox")
    five.actr("h2", "pull", "-q", found)
    return found


def test_every_command_at_another_node(five: Lab, image: str):
    with ThreadPoolExecutor(len(AT_NODE)) as pool:  # the nodes have nothing to do with each other
        wrong = list(pool.map(lambda node: tried_at(five, image, node), AT_NODE))
    assert wrong == [[]] * len(AT_NODE)
    assert five.actr("h1", "ps", "-aq") == "", "nothing of it was done here"


def tried_at(five: Lab, image: str, node: str) -> list[str]:
    """What went otherwise than it should have."""
    from transport.keys import new_pair  # noqa: PLC0415  # ZeroMQ

    here, there = five.hosts.directory / f"for-{node}", five.hosts[node].directory
    here.mkdir(exist_ok=True)  # by a first try
    (here / "file").write_text("precious")
    (there / "mounted").mkdir(exist_ok=True)
    given = {"image": image, "at": AT, "file": here / "file", "there": there, "public": new_pair().public}
    given["digest"] = max(five.blobs("h2").items(), key=itemgetter(1))[0]
    wrong, environment = [], {**os.environ, "DOCKER_CONFIG": str(here)}
    for step in AT_NODE[node]:
        words = [word.format(**given) for word in step.typed.split()]
        done = subprocess.run(
            five.command("h1", "--node", node, *words),
            input=step.stdin, capture_output=True, text=True, timeout=60, check=False, env=environment,
        )  # fmt: skip
        said = done.stdout + done.stderr
        expected = LOCAL.get(step.command, step.says.format(**given))
        if done.returncode != step.code or expected not in said:
            wrong.append(f"{step.typed}: {done.returncode}: {said}")
    return wrong
