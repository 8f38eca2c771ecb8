"""Manual pages, made from the commands' own descriptions: python packaging/man.py DIRECTORY."""

from __future__ import annotations

import sys
from pathlib import Path

from actors import __version__
from actors.zygote.main import parser
from cli.completion import everything
from cli.examples import examples_of
from cli.main import COMMANDS
from cli.notes import notes_of
from cli.options import GLOBAL, Command, Group, Option

EXIT_CODES = (
    ("0", "done"),
    ("1", "it could not be done; the reason is on standard error"),
    ("2", "wrong usage"),
    ("125", "run or exec: the container or process could not be started"),
    ("126, 127", "run, exec or start: the program cannot be executed, or is not there"),
    ("130", "interrupted by Ctrl-C"),
    ("255", "run, exec, attach or start -a: nobody knows the exit code of the process"),
    ("other", "run, exec, attach and start -a: the exit code of the process"),
)


def main() -> None:
    """Write both pages below the directory, as Debian wants them, uncompressed."""
    top = Path(sys.argv[1])
    for section, name, text in ((1, "actr", actr()), (8, "actord", actord())):
        directory = top / f"man{section}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.{section}").write_text(text)


def actr() -> str:
    """The command line's page."""
    commands, groups = everything()
    lines = [
        *_head("actr", 1, "run containers with actord"),
        ".SH SYNOPSIS", ".B actr", "[OPTIONS] COMMAND ...",
        ".SH DESCRIPTION", "Works with the daemon actord(8): images, containers, networks, stores.",
        "Of an option, brackets have the default, and ... says that it may be given again.",
        ".SH OPTIONS", *_options(GLOBAL),
        ".SH COMMANDS",
    ]  # fmt: skip
    for name in COMMANDS:
        if name in groups:
            lines += _group(groups[name], commands)
        else:
            lines += _command(commands[name])
    lines += [".SH EXIT STATUS"]
    for code, meaning in EXIT_CODES:
        lines += [".TP", f".B {code}", _text(meaning)]
    lines += [
        ".SH ENVIRONMENT", ".TP", ".B ACTORD_ADDRESS", "as --address", ".TP", ".B ACTORD_NAMESPACE",
        "as --namespace", ".TP", ".B TRACEPARENT", "as --trace", ".TP", ".B NO_COLOR", "no colours",
        ".SH SEE ALSO", "actord(8)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def actord() -> str:
    """The daemon's page."""
    lines = [
        *_head("actord", 8, "containers as a tree of supervised actors: the daemon"),
        ".SH SYNOPSIS", ".B actord", "[OPTIONS]",
        ".SH DESCRIPTION",
        "Stays in the foreground and logs to standard error. SIGTERM, SIGINT and SIGHUP stop it; containers",
        "that run go on, and the next start takes them over.",
        ".SH OPTIONS",
    ]  # fmt: skip
    for action in parser()._actions:  # noqa: SLF001  # argparse has no other way to ask
        value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
        lines += [".TP", f".B {_text(', '.join(action.option_strings) + value)}", _text(action.help or "")]
    lines += [
        ".SH FILES", ".TP", ".I /etc/actord/actord.toml", "every setting, with its default", ".TP",
        ".I /var/lib/actord", "what is durable", ".TP",
        ".I /run/actord", "the socket, and what a reboot takes", ".SH SEE ALSO", "actr(1)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _head(name: str, section: int, summary: str) -> list[str]:
    return [f'.TH {name.upper()} {section} "" "actord {__version__}"', ".SH NAME", f"{name} \\- {summary}"]


def _group(group: Group, commands: dict[str, Command]) -> list[str]:
    lines = [f".SS {group.name}", _text(group.summary) + "."]
    for verb in group.verbs:
        lines += _command(commands[f"{group.name} {verb}"])
    return lines


def _command(command: Command) -> list[str]:
    usage = " ".join((command.name, *(["[OPTIONS]"] if command.options else []), *command.arguments))
    return [
        ".SS " + _text(f"actr {usage}"),
        _text(command.summary) + ".",
        *(line for note in notes_of(command.name) for line in (".PP", _text(note))),
        *_options(command.options),
        *_examples(command),
    ]


def _examples(command: Command) -> list[str]:
    lines = examples_of(command.name)
    return [".PP", ".nf", *(f".RS\n{_text(line)}\n.RE" for line in lines), ".fi"] if lines else []


def _options(options: tuple[Option, ...]) -> list[str]:
    lines = []
    for option in options:
        lines += [
            ".TP",
            ".B " + _text(option.shown),
            _text(option.help),
        ]
    return lines


def _text(text: str) -> str:
    """As troff takes it literally."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    main()
