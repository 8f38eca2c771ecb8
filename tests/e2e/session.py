"""What people do with Docker, as a table of steps, each of which is done on two engines and compared."""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import pexpect
from daemon import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from engine import Engine

WAIT: Final = 20.0
_PATTERNS: Final = (
    (r"\b[0-9a-f]{64}\b", "ID"),
    (r"\b[0-9a-f]{12}\b", "ID"),
    (r"\b[0-9a-z]{25}\b", "SWARM-ID"),
    (r"SWMTKN-[0-9a-z-]+", "TOKEN"),
    (r"(Less than|About) an? \w+|\b\d+ (seconds?|minutes?)\b", "A WHILE"),
    (r"(?m)^\d+(?=  +\w+$)", "PID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*", "TIME"),
    (r"/tmp/\S*/docker/", "DOCKER/"),
    (r'time="[^\n]*error waiting for container: context canceled"\n', ""),  # said by chance
    (r"\x1b\[[0-9;?]*[a-zA-Z]", ""),
)


def normalised(text: str) -> str:
    """Without what is different each time."""
    for pattern, put in _PATTERNS:
        text = re.sub(pattern, put, text)
    return text


class Client(Protocol):
    """A command line that speaks to one daemon."""

    def client(self, *words: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """What comes of these words."""


@dataclass(frozen=True)
class Step:
    """One thing that somebody does.

    Attributes:
        command: words for the command line, as in a shell, or what gives the outcome.
        given: its standard input.
        until: said again until its output has this; steps that look at what happens by itself need it.
        code: the exit code that both have to have; None for any.
        quick: part of the short session.
        ours: containerd 1.6.20 finds no control group on a host that has both versions, and so knows nothing
            of this; ours has to have what `until` says.
        differs: why what the two print cannot be the same; then only their exit codes are.
    """

    name: str
    command: str | Callable[[Any], str]
    given: str | None = None
    until: str = ""
    code: int | None = 0
    quick: bool = False
    ours: bool = False
    differs: str = ""

    def outcome(self, engine: Client) -> str:
        """Exit code, output and errors, without what is different each time."""
        if not isinstance(self.command, str):
            return normalised(self.command(engine))
        said = self._awaited(engine) if self.until else self._once(engine)
        code = said.partition("\n")[0]
        assert self.code in (None, int(code)), f"{self.name}: {said}"
        return code if self.differs else said

    def _awaited(self, engine: Client) -> str:
        end = time.monotonic() + WAIT
        while self.until not in (said := self._once(engine)):
            assert time.monotonic() < end, f"{self.name}: no {self.until!r}, but {said!r}"
            time.sleep(0.1)
        return said

    def _once(self, engine: Client) -> str:
        assert isinstance(self.command, str)
        done = engine.client(*shlex.split(self.command), given=self.given)
        return normalised(f"{done.returncode}\n{done.stdout}\n{done.stderr}")


def compare(ours: Client, theirs: Client, steps: Sequence[Step]) -> None:
    """Do each step on both; what differs fails the test at the end."""
    different = []
    for step in steps:
        outcome, well = _tried(step, ours)
        print(f"{step.name}: {outcome!r}")  # noqa: T201  (shown when the test fails)
        other, theirs_well = (outcome, well) if step.ours else _tried(step, theirs)
        if outcome != other or not (well and theirs_well):
            different.append(f"{step.name}: {outcome!r}, but on containerd {other!r}")
    assert not different, "\n".join(different)


def _tried(step: Step, client: Client) -> tuple[str, bool]:
    """What comes of it, and whether that is allowed; the steps go on: a list says more than the first."""
    try:
        return step.outcome(client), True
    except AssertionError as error:
        return str(error), False


def typed(words: str, *dialogue: tuple[str, str]) -> Callable[[Any], str]:
    """On a terminal: what is waited for and what is then typed, in turn; its exit code and last words."""

    def run(client: Any) -> str:
        child = client.typed(*shlex.split(words))
        try:
            for wanted, answer in dialogue:
                child.expect(wanted)
                child.send(answer)
            child.expect(pexpect.EOF)
        finally:
            child.close()
        assert isinstance(child.before, str)
        said = normalised(child.before).replace("/ #", "").split()  # prompts and echo come as they come
        return f"{child.exitstatus} {' '.join(said)}"

    return run


def on_host(words: str) -> Callable[[Engine], str]:
    """A command beside the engine, tried until it succeeds: what it asks may be only just starting."""

    def run(engine: Engine) -> str:
        def tried() -> str:
            done = engine.host.run(*shlex.split(words))
            return f"{done.returncode}\n{done.stdout}" if done.returncode == 0 else ""

        return str(wait_until(words, tried, WAIT))

    return run


def events(name: str) -> Callable[[Engine], str]:
    """What the engine's journal has of one container; some are told in no order."""

    def run(engine: Engine) -> str:
        words = (
            "events",
            "--since",
            "1",
            "--until",
            str(int(time.time()) + 1),
            "--filter",
            f"container={name}",
        )
        found = engine.ok(*words, "--filter", "type=container", "--format", "{{.Action}}")
        return "\n".join(sorted(found.split("\n")))

    return run


def in_no_order(words: str) -> Callable[[Engine], str]:
    """Lines that the engine gives as they come, such as the names of one image."""

    def run(engine: Engine) -> str:
        return "\n".join(sorted(engine.ok(*shlex.split(words)).splitlines()))

    return run


def many_lines(engine: Engine) -> str:
    """More than any pipe holds, of both streams; nothing is missing or twice."""
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done"
    done = engine.client("run", "--rm", "busybox", "sh", "-c", script)
    assert done.stdout.splitlines() == [f"line {one}" for one in range(20000)]
    assert done.stderr.splitlines() == [f"error {one}" for one in range(20000)]
    return str(done.returncode)


def restored(engine: Engine) -> str:
    """Stop the engine and start it again, with live restore: one goes on, one has ended meanwhile."""
    engine.stop()
    engine.start("--live-restore")
    for name, code in (("stays", "0"), ("ends", "5")):
        script = f"trap 'exit {code}' TERM; echo started; while :; do sleep 0.1; done"
        engine.ok("run", "-d", "--name", name, "busybox", "sh", "-c", script)
        wait_until("it runs", lambda name=name: "started" in engine.ok("logs", name), WAIT)
    pids = {name: engine.ok("inspect", "-f", "{{.State.Pid}}", name).strip() for name in ("stays", "ends")}
    engine.stop()
    engine.host.run("kill", pids["ends"])
    wait_until(
        "it has ended", lambda: engine.host.run("test", "-e", f"/proc/{pids['ends']}").returncode, WAIT
    )
    engine.start("--live-restore")
    assert engine.ok("inspect", "-f", "{{.State.Pid}}", "stays").strip() == pids["stays"]
    said = engine.ok("exec", "stays", "echo", "inside")
    said += engine.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "stays", "ends")
    said += engine.ok("stop", "stays") + engine.ok("inspect", "-f", "{{.State.ExitCode}}", "stays")
    engine.ok("rm", "stays", "ends")
    engine.stop()
    engine.start()
    return said


def one_of_the_crowd(engine: Engine) -> str:
    """Take one of a service's containers away."""
    running = engine.ok("ps", "--quiet", "--filter", "name=crowd").split()
    return engine.ok("rm", "--force", running[0])


LOOP: Final = 'trap "exit 3" TERM; trap "echo usr1" USR1; echo started; while :; do sleep 0.1; done'
DOCKERFILE: Final = """FROM busybox
ENV greeting=hello
RUN echo built > /built
USER 1000
CMD ["sh", "-c", "cat /built; echo $greeting; id -u"]
"""

STEPS: Final = (
    Step("info", "info -f '{{.Driver}} {{.CgroupDriver}} {{.DefaultRuntime}} {{.Containers}}'"),
    Step("run", "run --rm busybox echo hello", quick=True),
    Step("run: exit code", "run --name seven busybox sh -c 'exit 7'", quick=True, code=7),
    Step("ps -a", "ps -a --format '{{.Names}} {{.Status}}'", quick=True),
    Step("wait for what has ended", "wait seven"),
    Step("rm", "rm seven", quick=True),
    Step("run: no such program", "run --rm busybox no-such-program", quick=True, code=127),
    Step("run: a directory", "run --rm busybox /etc", code=126),
    Step("run: no such file", "run --rm busybox /bin/no-such-file", code=127),
    Step("run: no such directory", "run --rm -w /bin/sh busybox true", code=125),
    Step("run: input", "run -i --rm busybox cat", given="one\ntwo\n", quick=True),
    Step("run: a terminal without one", "run -t --rm busybox tty"),
    Step(
        "run -it",
        typed(
            "run -it --rm busybox sh",
            ("# ", "until stty size | grep 33; do :; done; tty\n"),
            ("33 77", ""),
            ("/dev/", "exit 4\n"),
        ),
        quick=True,
    ),
    Step("run: much output", many_lines, quick=True),
    Step("run -d", f"run -d --name main --hostname main busybox sh -c '{LOOP}'", quick=True),
    Step("logs", "logs main", until="started", quick=True),
    Step("logs --tail", "logs --tail 1 main"),
    Step("ps", "ps --format '{{.Names}} {{.Image}} {{.Command}} {{.Status}} {{.Ports}}'"),
    Step("inspect", "inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}' main"),
    Step("exec", "exec main echo inside", quick=True),
    Step("exec: exit code", "exec main sh -c 'exit 9'", quick=True, code=9),
    Step("exec: input", "exec -i main cat", given="to cat\n", quick=True),
    Step("exec: no such program", "exec main no-such-program", quick=True, code=126),
    Step(
        "exec: user, directory, environment", "exec -u 1000 -w /tmp -e a=1 main sh -c 'id -u; pwd; echo $a'"
    ),
    Step("exec -d", "exec -d main sh -c 'echo detached > /detached'"),
    Step("exec -d has run", "exec main cat /detached", until="detached"),
    Step(
        "exec -it",
        typed("exec -it main sh", ("# ", "until stty size | grep 33; do :; done\n"), ("33 77", "exit 6\n")),
        quick=True,
    ),
    Step("top", "top main -o pid,comm", until="sleep"),
    Step(
        "stats",
        "stats --no-stream --format '{{.Name}} {{.PIDs}}' main",
        until="main 2",
        quick=True,
        ours=True,
    ),
    Step("pause", "pause main", quick=True),
    Step("ps: paused", "ps --format '{{.Names}} {{.Status}}'", quick=True),
    Step("exec in what is paused", "exec main true", code=1),
    Step("unpause", "unpause main", quick=True),
    Step("update", "update --memory 64m --memory-swap 64m --cpu-shares 512 main", quick=True),
    Step("update: has been done", "exec main cat /sys/fs/cgroup/memory/memory.limit_in_bytes", quick=True),
    Step("update: restart policy", "update --restart no main"),
    Step("cp into it", "cp - main:/tmp", given=""),
    Step("exec writes", "exec main sh -c 'echo written > /file; rm /etc/group'"),
    Step("diff", in_no_order("diff main")),
    Step("commit", "commit -m changed main committed"),
    Step("run what was committed", "run --rm committed cat /file"),
    Step("kill -s", "kill -s USR1 main", quick=True),
    Step("kill -s: was heard", "logs main", until="usr1", quick=True),
    Step("rename", "rename main other", quick=True),
    Step("rm of what runs", "rm other", code=1),
    Step("restart", "restart -t 5 other", quick=True),
    Step("restart: runs", "ps --format '{{.Names}} {{.Status}}'"),
    Step("stop", "stop -t 5 other", quick=True),
    Step("stop: its code", "inspect -f '{{.State.Status}} {{.State.ExitCode}}' other", quick=True),
    Step("start", "start other", quick=True),
    Step("kill", "kill other", quick=True),
    Step("kill: its code", "wait other", quick=True),
    Step("events", events("other")),
    Step("rm -f", "rm -f other", quick=True),
    Step("create", "create -i --name created busybox sh -c 'cat; exit 8'"),
    Step("start -ai", "start -ai created", given="given\n", code=8),
    Step("container prune", "container prune -f"),
    Step("attach: what is attached to", "run -dit --name terminal busybox sh"),
    Step("attach and detach", typed("attach terminal", ("# ", "echo a$((1+1))b\n"), ("a2b", "\x10\x11"))),
    Step("attach: it runs on", "inspect -f '{{.State.Status}}' terminal"),
    Step("attach: to the end", typed("attach terminal", ("", "\n"), ("# ", "exit 2\n"))),
    Step("attach: its code", "wait terminal"),
    Step("rm the terminal", "rm terminal"),
    Step("run --init", "run --rm --init busybox sh -c 'cat /proc/1/comm'"),
    Step(
        "run --read-only",
        "run --rm --read-only --tmpfs /tmp busybox sh -c 'touch /tmp/a && touch /a'",
        code=1,
    ),
    Step(
        "run --user",
        "run --rm --user 1000:1000 busybox sh -c 'id -u; echo out > /dev/stdout; echo err > /dev/stderr'",
    ),
    Step(
        "run --privileged",
        "run --rm --privileged busybox sh -c 'mount -t tmpfs none /tmp && echo mounted'",
        code=None,
    ),
    Step("run --cap-drop", "run --rm --cap-drop ALL busybox grep CapEff /proc/1/status"),
    Step("run --ulimit", "run --rm --ulimit nofile=99:99 busybox sh -c 'ulimit -n'"),
    Step("run --pid host", "run --rm --pid host busybox sh -c 'test $$ -gt 1 && echo host'"),
    Step("run --network none", "run --rm --network none busybox ip -o link"),
    Step("run --network host", "run --rm --network host busybox sh -c 'ip -o link | wc -l'"),
    Step(
        "run: resources",
        "run --rm --memory 32m --pids-limit 20 --cpus 0.5 busybox sh -c 'cat /sys/fs/cgroup/"
        "memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us'",
    ),
    Step(
        "run: out of memory",
        "run --name greedy --memory 8m --memory-swap 8m busybox sh -c 'tail /dev/zero'",
        code=137,
    ),
    Step(
        "run: out of memory is known",
        "inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' greedy",
        until="true 137",
        ours=True,
    ),
    Step("rm the greedy one", "rm greedy"),
    Step("volume create", "volume create data"),
    Step("volume: write", "run --rm -v data:/data busybox sh -c 'echo kept > /data/file'"),
    Step("volume: read", "run --rm -v data:/data:ro busybox sh -c 'cat /data/file; touch /data/x'", code=1),
    Step("volume rm", "volume rm data"),
    Step("bind mount", "run --rm -v /proc/version:/version:ro busybox sh -c 'cut -c 1-5 /version'"),
    Step("network create", "network create --subnet 10.77.0.0/24 own", quick=True),
    Step(
        "network: a server",
        "run -d --name web --network own --network-alias site -p 18080:80 --label app=x"
        " busybox httpd -f -h /etc",
        quick=True,
    ),
    Step(
        "network: by name",
        "run --rm --network own busybox wget -q -O - http://site/passwd",
        until="root",
        quick=True,
    ),
    Step("port", "port web"),
    Step("published port", on_host("curl -sS --fail http://127.0.0.1:18080/passwd"), quick=True),
    Step("network connect", "network connect bridge web"),
    Step("network: addresses", "exec web sh -c 'ip -o -4 addr | wc -l'"),
    Step("network disconnect", "network disconnect own web"),
    Step("a group: a second one", "run -d --name worker --label app=x --volumes-from web busybox sleep 1000"),
    Step("a group: listed", "ps --filter label=app=x --format '{{.Names}} {{.Status}}'"),
    Step("a group: ended", "rm -f web worker", quick=True),
    Step("network rm", "network rm own", quick=True),
    Step(
        "health: run",
        "run -d --name sound --health-cmd 'test -e /tmp/well' --health-interval 200ms"
        " --health-retries 2 busybox sh -c 'sleep 1000'",
    ),
    Step("health: ill", "inspect -f '{{.State.Health.Status}}' sound", until="unhealthy"),
    Step("health: made well", "exec sound touch /tmp/well"),
    Step("health: well", "inspect -f '{{.State.Health.Status}}' sound", until="0\nhealthy"),
    Step("health: ended", "rm -f sound"),
    Step(
        "restart policy: run",
        "run -d --name again --restart on-failure:2 busybox sh -c 'echo ran; exit 1'",
        quick=True,
    ),
    Step(
        "restart policy: spent",
        "inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' again",
        until="2 exited 1",
        quick=True,
    ),
    Step("restart policy: what it said", "logs again", quick=True),
    Step("restart policy: ended", "rm -f again", quick=True),
    Step("restart always: run", "run -d --name always --restart always busybox sh -c 'sleep 1000'"),
    Step("restart always: killed from within", "exec always sh -c 'kill -9 -1; kill -9 1'"),
    Step("restart always: kill", "kill -s TERM always"),
    Step("restart always: ended", "rm -f always"),
    Step("build", "build -q -t built -", given=DOCKERFILE, quick=True),
    Step("build: run", "run --rm built", quick=True),
    Step("history", "history --format '{{.CreatedBy}}' built"),
    Step("tag", "tag built again:2"),
    Step("images", in_no_order("images --format '{{.Repository}}:{{.Tag}}'")),
    Step("rmi", "rmi again:2"),
    Step("live restore", restored),
    Step("swarm init", lambda engine: engine.ok("swarm", "init", "--advertise-addr", "127.0.0.1")[:17]),
    Step(
        "service create", "service create -q -d --name crowd --replicas 3 --network host busybox sleep 1000"
    ),
    Step("service: three", "service ls --format '{{.Name}} {{.Replicas}}'", until="3/3"),
    Step("service: one is removed", one_of_the_crowd),
    Step("service: three again", "service ls --format '{{.Name}} {{.Replicas}}'", until="3/3"),
    Step("service scale", "service scale -d crowd=1"),
    Step("service: one", "service ls --format '{{.Name}} {{.Replicas}}'", until="1/1"),
    Step("service rm", "service rm crowd"),
    Step("service: none runs", "ps -q", until="0\n\n"),
    Step("swarm leave", "swarm leave --force"),
    Step("nothing is left", "ps -aq", quick=True),
)
"""Whose outcome is all that the two engines may not differ in."""
