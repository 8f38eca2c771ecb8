"""Debian's ctr on one daemon, and what it takes more than one command to see."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import select
import shlex
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pexpect
from archives import skopeo
from daemon import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Dialogue = Callable[["Ctr"], str]

KIND: Final = re.compile(r'(?<=ctr: ).*: (?=[a-z ]+\n)|(?<=error=")(?:[^"\\]|\\.)*: (?=[a-z ]+"\n)')
"""What comes before the kind of an error: each daemon has its own words."""
CHANCE: Final = re.compile(
    r'time=.*"(failed to get content info|active check failed)" error="context canceled"\n'
)
"""Said by a progress bar."""
OWN: Final = (
    (re.compile(r"/tmp/[^,:\s]*/(fs|work)\b"), "PLACE"),
    (re.compile(r"\b\d+(?= +(RUNNING|PAUSED|STOPPED|-$))", re.MULTILINE), "PID"),
    (re.compile(r"elapsed: .*"), "elapsed"),
    (re.compile(r"\b\d+(\.\d+)?(ms|µs|s)\b"), "TIME"),
)
EVENT: Final = re.compile(r" (\S+) (/\S+) (\{.*\})$")
SECONDS: Final = 60.0 * PATIENCE
PROGRESS: Final = frozenset({"pull", "push", "fetch", "convert"})
"""Verbs that draw bars while they work."""


@dataclass(frozen=True)
class Ctr:
    """The command line, on one daemon.

    Attributes:
        names: what stands for what in the steps, and in what is printed once more for the comparison.
    """

    socket: Path
    names: dict[str, str]

    def command(self, *words: str | Path) -> list[str]:
        """Its words, with the names filled in."""
        said = [str(word) for word in words]
        for name, meant in self.names.items():
            said = [word.replace(name, meant) for word in said]
        return ["ctr", "--address", str(self.socket), *said]

    def client(self, *words: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """What comes of these words."""
        stdin: dict[str, Any] = {"input": given} if given is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=SECONDS, check=False,
            errors="replace", **stdin,
        )  # fmt: skip
        if done.returncode:
            print(f"{self.socket}: {words}: {done.stderr}")  # noqa: T201  (in full, shown when a test fails)
        done.stdout = "" if PROGRESS & set(words) else self.comparable(done.stdout)
        done.stderr = KIND.sub("", CHANCE.sub("", done.stderr)).replace(self.names["ID."], "ID.")
        return done

    def raw(self, words: str) -> bytes:
        """What it prints, when that is no text; it has to succeed."""
        done = subprocess.run(
            self.command(*shlex.split(words)), capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def comparable(self, text: str) -> str:
        """In no order of lines, nor of what commas part in a column; without the daemon's places and pids."""
        for name, meant in self.names.items():
            text = text.replace(meant, name)
        for pattern, put in OWN:
            text = pattern.sub(put, text)
        return "\n".join(sorted(" ".join(map(_in_order, line.split())) for line in text.splitlines()))

    def typed(self, *words: str) -> pexpect.spawn[str]:
        """On a terminal."""
        command = self.command(*words)
        return pexpect.spawn(command[0], command[1:], timeout=30, dimensions=(33, 77), encoding="utf-8")

    @contextlib.contextmanager
    def running(self, words: str) -> Iterator[subprocess.Popen[str]]:
        """One that goes on until it is ended."""
        process = subprocess.Popen(
            self.command(*shlex.split(words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def _in_order(column: str) -> str:
    return ",".join(sorted(column.strip(",").split(",")))


def digests_of(image: str) -> dict[str, str]:
    """Of the parts of an image of this platform, by the names that steps have for them."""
    index = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{image}")
    [manifest] = [
        one["digest"] for one in json.loads(index)["manifests"] if one["platform"]["architecture"] == "amd64"
    ]
    name = image.rpartition(":")[0]
    parts = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}@{manifest}"))
    found = {"INDEX": f"sha256:{hashlib.sha256(index.encode()).hexdigest()}", "MANIFEST": manifest}
    return {**found, "CONFIG": parts["config"]["digest"], "LAYER": parts["layers"][0]["digest"]}


def kept(content: str, digest: str, ref: str, *, namespace: str) -> Dialogue:
    """Take content in and label it, so that no collection takes it; one may have come between."""
    here = ("-n", namespace, "content")

    def run(ctr: Ctr) -> str:
        def tried() -> bool:
            taken = ctr.client(*here, "ingest", "--expected-digest", digest, ref, given=content)
            assert taken.returncode == 0, taken.stderr
            return ctr.client(*here, "label", digest, "containerd.io/gc.root=1").returncode == 0

        wait_until("it is labelled", tried)
        return ctr.client(*here, "ls", "-q").stdout

    return run


def removed(*snapshots: str, namespace: str) -> Dialogue:
    """Take away snapshots that nothing holds, such as ctr's views: a collection may have done it already."""
    here = ("-n", namespace, "snapshots")

    def run(ctr: Ctr) -> str:
        for key in snapshots:
            ctr.client(*here, "rm", key)
        return ctr.client(*here, "ls").stdout

    return run


def layer(words: str) -> Dialogue:
    """What is in a layer that it prints; how it is compressed, and when it was made, may differ."""

    def run(ctr: Ctr) -> str:
        with tarfile.open(fileobj=io.BytesIO(ctr.raw(words))) as found:
            lines = [
                f"{one.name.strip('./')} {one.type!r} {one.mode:o} {one.uid} {one.size}"
                for one in found
                if one.name.strip("./")  # actord's have an entry for the root itself
            ]
        return "\n".join(sorted(lines))

    return run


def beside(script: str) -> Dialogue:
    """A shell's script, on the same host."""

    def run(ctr: Ctr) -> str:
        done = subprocess.run(
            ["sh", "-c", script.replace("DIR", ctr.names["DIR"])], capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        return ctr.comparable(f"{done.returncode}\n{done.stdout}\n{done.stderr}")

    return run


def attached(identity: str, signal: str) -> Dialogue:
    """Attach to a task, then end it; what was shown, and the exit code."""

    def run(ctr: Ctr) -> str:
        with ctr.running(f"tasks attach {identity}") as process:
            assert process.stdout is not None
            said = process.stdout.readline()  # it is attached once it shows what is said all the time
            ctr.client("tasks", "kill", "-s", signal, identity)
            said += process.stdout.read()
            code = process.wait(SECONDS)
        return ctr.comparable(f"{code}\n" + "\n".join(sorted(set(said.split("\n")))))

    return run


def events_of(*commands: str, last: str) -> Dialogue:
    """What the daemon tells of these commands, until the topic `last`; pids and digests are its own."""

    def run(ctr: Ctr) -> str:
        with ctr.running("events") as process:
            assert process.stdout is not None
            _until_it_hears(ctr, process)
            for words in commands:
                ctr.client(*shlex.split(words))
            told = []
            for line in process.stdout:
                told.append(_told(line))
                if last in line:
                    break
        return ctr.comparable("\n".join(one for one in told if "/namespaces/" not in one))

    return run


def _until_it_hears(ctr: Ctr, process: subprocess.Popen[str]) -> None:
    """A subscription begins at some time: make something happen until it is told."""
    assert process.stdout is not None

    def heard() -> bool:
        ctr.client("namespaces", "create", "heard")
        ctr.client("namespaces", "rm", "heard")
        return bool(select.select([process.stdout], [], [], 0.1)[0])

    wait_until("events are told", heard)


def _told(line: str) -> str:
    """An event without its time and what is different each time."""
    said = EVENT.search(line)
    assert said is not None, line
    namespace, topic, body = said.groups()
    found = json.loads(body)
    for name in ("pid", "exited_at", "bundle", "io", "rootfs"):
        found.pop(name, None)
    return f"{namespace} {topic} {json.dumps(found, sort_keys=True)}"
