"""Find the verb, run it, and turn whatever goes wrong into one line and an exit code."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` wraps
import posix  # what `os` wraps: transport/bare.py
import sys

from cli.complaint import complain, refusal, say_aside
from cli.options import (
    GLOBAL,
    HELP,
    Command,
    Given,
    Group,
    HelpWanted,
    UsageError,
    near,
    parse,
    parse_command,
)
from cli.session import RefusedError, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import NoReturn

FAILED, USAGE, INTERRUPTED = 1, 2, 130
RUN_REFUSED = 125

COMMANDS = {
    "run": "create a container and run it",
    "create": "create a container without starting it",
    "start": "start containers",
    "stop": "stop containers: SIGTERM, and SIGKILL when that does not help",
    "restart": "stop containers and start them anew",
    "kill": "send a signal to the first process of containers",
    "rm": "remove containers",
    "ps": "list containers",
    "logs": "print what a container has written",
    "exec": "run a further process in a running container",
    "attach": "be the terminal of a container: see its output, and type",
    "wait": "wait until containers have exited, and print their exit codes",
    "inspect": "show everything about a container or an image, as JSON",
    "stats": "show what containers use, again and again",
    "port": "show the published ports of a container",
    "cp": "copy files into or out of a container",
    "diff": "list the files that a container has changed",
    "export": "write the files of a container as a tar",
    "pause": "freeze every process of containers",
    "unpause": "let paused containers go on",
    "update": "change limits and restart policies of containers",
    "rename": "give a container another name",
    "checkpoint": "write the state of a container's processes to a directory",
    "restore": "start a container from a checkpoint",
    "spec": "print the specification that the runtime is given",
    "images": "list images, or look after one",
    "pull": "fetch an image from a registry, or from another node",
    "push": "send an image to a registry",
    "copy": "copy an image from one registry to another",
    "tag": "give an image a further name",
    "rmi": "remove images",
    "history": "show the steps that made an image, the latest first",
    "commit": "make an image of a container and what it has changed",
    "import": "make an image of one layer from a tar of its files",
    "save": "write images to an archive that OCI's and Docker's tools read",
    "load": "take images from an archive or a layout: OCI's or Docker's",
    "containerd": "move over from a containerd",
    "login": "keep a login for a registry",
    "logout": "forget the login for a registry",
    "search": "list the repositories of a registry, where it has a catalogue",
    "tags": "list the tags of a repository at its registry",
    "network": "make networks, and put containers on them",
    "volume": "make, list and remove named volumes",
    "doctor": "look for what keeps actord from working, and say what to do",
    "top": "watch the whole daemon, or list the processes of a container",
    "tree": "show who keeps whom alive, down to the processes in containers",
    "actors": "show the daemon's processes as a tree",
    "events": "print what happens to containers, images and the daemon itself",
    "info": "show what the daemon works with",
    "version": "show the versions of actr and the daemon",
    "system": "look after the stores: space, garbage, checks, backups",
    "content": "look at blobs and ingests",
    "leases": "keep things from being collected",
    "node": "reach other nodes by name",
    "keys": "say who on other hosts may work with the daemon",
    "completion": "print the completion script for a shell",
    "chaos": "make things go wrong, to see that they heal",
}


def command(name: str) -> Command | Group:
    """Import a verb, or a group of verbs. Raises UsageError."""
    if name not in COMMANDS:
        from cli.hints import ELSEWHERE  # only a mistake pays for it

        also = f"; did you mean {ELSEWHERE[name]}?" if name in ELSEWHERE else near(name, COMMANDS)
        raise UsageError(f"unknown command {name}{also}")
    module = _module(name)
    found: Command | Group = module.GROUP if hasattr(module, "GROUP") else module.COMMAND
    return found


def member(group: Group, name: str) -> Command:
    """Import a verb of a group."""
    found: Command = _module(f"{group.name}.{name}").COMMAND
    return found


def _module(name: str) -> ModuleType:
    name = f"{name}_root" if name.endswith("import") else name  # a module cannot have a keyword's name
    return __import__(f"cli.{name}", fromlist=["COMMAND"])  # importlib costs a millisecond more


def _chosen(group: Group, words: list[str], given: Given) -> tuple[Command, list[str]]:
    """The verb of a group that `words` name, and what is left of them. Raises UsageError, HelpWanted."""
    if words and words[0] in group.verbs:
        return member(group, words[0]), words[1:]
    default = member(group, group.default) if group.default else None
    rest = parse((*(default.options if default else ()), *GLOBAL), words, given, 1)
    if given.arguments:
        name = given.arguments.pop()
        if name not in group.verbs:
            raise UsageError(f"{group.name} has no {name}{near(name, group.verbs)}")
        return member(group, name), rest
    if default:
        return default, rest
    raise UsageError(f"{group.name} wants one of {', '.join(group.verbs)}")


def leave(last: Callable[[], None] | None = None) -> NoReturn:
    """Run the command of this process's arguments, then `last`, and end, at once.

    The interpreter would first take itself apart, for 3 ms. Nothing of ours waits for that: files and
    streams are closed by those who opened them.
    """
    _open_closed()
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:  # the launcher's doing
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    code = main()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # the command itself is over
    if last is not None:
        last()
    posix._exit(code)  # noqa: SLF001  # os._exit is no more public


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    code = 0
    try:
        code = _guarded(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
        return FAILED
    except KeyboardInterrupt as error:
        return 128 + error.number if hasattr(error, "number") else INTERRUPTED
    except OSError as error:  # of standard output: all others are known to `_run`
        if not code:
            complain(f"standard output: {error.strerror or error}")
        _forget_stdout()
        return code or FAILED
    return code


def _guarded(words: list[str]) -> int:
    given = Given()
    verb: Command | Group | None = None
    try:
        rest = parse(GLOBAL, _as_meant(words), given, 1)
        if not given.arguments:
            say_aside(_help(verb))
            return USAGE
        verb = command(given.arguments.pop())
        if isinstance(verb, Group):
            verb, rest = _chosen(verb, rest, given)
        parse_command(verb, rest, given)
        return _run(verb, given)
    except HelpWanted:
        print(_help(verb))
        return 0
    except UsageError as error:
        about = f"actr {verb.name} --help" if verb else "actr --help"
        complain(f"{error}; see: {about}")
        return USAGE


def _as_meant(words: list[str]) -> list[str]:
    """`help VERB` and `--version` are what other programs have taught people."""
    if words[:1] == ["help"]:
        return [*words[1:], HELP.names[-1]]
    return ["version", "--client"] if words == ["--version"] else words


def _help(verb: Command | Group | None) -> str:
    from cli.usage import command_help, group_help, main_help

    if isinstance(verb, Group):
        return group_help(verb, member(verb, verb.default) if verb.default else None)
    return command_help(verb) if verb else main_help(COMMANDS)


def _run(verb: Command, given: Given) -> int:
    now = session(given)
    if now.debug:
        complain(f"trace {now.trace}")
    try:
        return verb.run(now, given)
    except RefusedError as error:
        complain(refusal(error, debug=now.debug))
        return exit_code(error, verb.name)
    except (UsageError, BrokenPipeError):
        raise
    except Exception as error:
        text = _known_failure(error)
        if text is None:
            raise
        complain(text)
        return RUN_REFUSED if verb.name in ("run", "exec") else FAILED
    finally:
        now.close()


def exit_code(error: RefusedError, verb: str) -> int:
    """What a refusal is worth: a program that cannot be started has a code of its own."""
    code = error.error.details.get("exit_code")
    if verb in ("run", "exec", "start") and isinstance(code, int) and 0 < code < 256:
        return code
    return RUN_REFUSED if verb in ("run", "exec") else FAILED


def _known_failure(error: Exception) -> str | None:
    """The text of an error that is not a mistake in this program."""
    from storage.errors import StorageError
    from transport.client import NotRunningError
    from transport.errors import ProtocolError
    from transport.registry.errors import RegistryError

    if isinstance(error, NotRunningError | ProtocolError | StorageError | RegistryError):
        return str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return None


def _open_closed() -> None:
    """Standard streams that the caller had closed: the launcher has put /dev/null in their place."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  # to the end


def _forget_stdout() -> None:
    """Whoever read our output has gone; the interpreter must not complain about it at the end."""
    null = posix.open("/dev/null", posix.O_WRONLY)
    posix.dup2(null, 1)
    posix.close(null)
