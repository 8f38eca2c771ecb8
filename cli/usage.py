"""Help texts, made from the commands' descriptions."""

from __future__ import annotations

from cli.examples import examples_of
from cli.notes import notes_of
from cli.options import GLOBAL, Command, Group, Option

WIDEST = 30  # characters for an option and its value, before the text
SECTIONS = {
    "run": "Containers",
    "images": "Images",
    "login": "Registries",
    "network": "Networks and volumes",
    "doctor": "The daemon and what it keeps",
    "node": "Other hosts",
    "completion": "Besides",
}
"""Headings, by the command that comes first below each."""
CLOSING = (
    "The variables ACTORD_ADDRESS, ACTORD_NAMESPACE and TRACEPARENT say the same as",
    "--address, --namespace and --trace, which win; NO_COLOR turns colours off.",
    "",
    "Exit codes: 0 done, 1 failed or no daemon answers, 2 wrong usage, 130 Ctrl-C.",
    "run, exec, start -a and attach have those of the program; run and exec also 125:",
    "actord could not run it, 126: it cannot be executed, 127: there is none.",
    "",
    "To begin with: actr run --rm busybox echo hello",
    "If nothing works: actr doctor",
    "More on one: actr COMMAND --help",
)
WIDTH = 80  # of a line; terminals are at least so wide


def command_help(command: Command) -> str:
    """What `actr COMMAND --help` prints."""
    usage = " ".join(("actr", command.name, "[OPTIONS]", *command.arguments))
    lines = [f"Usage: {usage}", "", *_wrapped(f"{command.summary}.", WIDTH), ""]
    notes = notes_of(command.name)
    if notes:
        lines += [line for note in notes for line in _wrapped(note, WIDTH)] + [""]
    if command.options:
        lines += [f"Options{_legend(command.options)}:", *_listed(command.options), ""]
    examples = [f"  {line}" for line in examples_of(command.name)]
    if examples:
        lines += ["Examples:", *examples, ""]
    return "\n".join([*lines, f"Everywhere{_legend(GLOBAL)}:", *_listed(GLOBAL)])


def group_help(group: Group, default: Command | None = None) -> str:
    """What `actr GROUP --help` prints; `default` is what it does without a verb."""
    width = max(map(len, group.verbs))
    verbs = [f"  {name:<{width}}  {summary}" for name, summary in group.verbs.items()]
    summary = f"{group.summary[:1].upper()}{group.summary[1:]}."
    lines = [f"Usage: actr {group.name} COMMAND ...", "", summary, "", "Commands:", *verbs]
    if default and default.options:
        lines += ["", f"Options without COMMAND, which is then {group.default}:", *_listed(default.options)]
    return "\n".join([*lines, "", f"More on one: actr {group.name} COMMAND --help"])


def main_help(commands: dict[str, str]) -> str:
    """What `actr --help` prints; `commands` maps verbs to their summaries."""
    width = max(map(len, commands))
    lines = ["Usage: actr [OPTIONS] COMMAND ...", "", "Run containers with actord."]
    for name, summary in commands.items():
        lines += ["", f"{SECTIONS[name]}:"] if name in SECTIONS else []
        lines.append(f"  {name:<{width}}  {summary}")
    options = ["", "Options, before or after the command (defaults in brackets):", *_listed(GLOBAL), ""]
    return "\n".join([*lines, *options, *CLOSING])


def _legend(options: tuple[Option, ...]) -> str:
    """What the signs of a list of options mean, as far as it has any."""
    found = ["defaults in brackets"] * any(option.help.endswith(")") for option in options)
    found += ["... may be given again"] * any(option.many for option in options)
    return f" ({'; '.join(found)})" if found else ""


def _listed(options: tuple[Option, ...]) -> list[str]:
    shown = [(_spelled(option), option.help) for option in options]
    width = min(WIDEST, max(len(spelled) for spelled, _ in shown))
    return [line for spelled, text in shown for line in _entry(spelled, text, width)]


def _entry(spelled: str, text: str, width: int) -> list[str]:
    """An option with its text beside it, or below if it leaves no room."""
    first, *more = _wrapped(text, WIDTH - width - 4)
    below = [f"  {'':<{width}}  {line}" for line in more]
    if len(spelled) <= width:
        return [f"  {spelled:<{width}}  {first}", *below]
    return [f"  {spelled}", f"  {'':<{width}}  {first}", *below]


def _wrapped(text: str, width: int) -> list[str]:
    """Its lines, broken between words only."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".lstrip()
        if len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _spelled(option: Option) -> str:
    return option.shown if len(option.names) > 1 else f"    {option.shown}"
