"""Help texts, made from the commands' descriptions."""

from __future__ import annotations

from cli.examples import examples_of
from cli.options import GLOBAL, Command, Group, Option

WIDEST = 30  # characters for an option and its value, before the text


def command_help(command: Command) -> str:
    """What `actr COMMAND --help` prints."""
    usage = " ".join(("actr", command.name, "[OPTIONS]", *command.arguments))
    lines = [f"Usage: {usage}", "", f"{command.summary}.", ""]
    if command.options:
        lines += ["Options:", *_listed(command.options), ""]
    examples = [f"  {line}" for line in examples_of(command.name)]
    if examples:
        lines += ["Examples:", *examples, ""]
    return "\n".join([*lines, "Everywhere:", *_listed(GLOBAL)])


def group_help(group: Group, default: Command | None = None) -> str:
    """What `actr GROUP --help` prints; `default` is what it does without a verb."""
    width = max(map(len, group.verbs))
    verbs = [f"  {name:<{width}}  {summary}" for name, summary in group.verbs.items()]
    lines = [f"Usage: actr {group.name} COMMAND ...", "", f"{group.summary}.", "", "Commands:", *verbs]
    if default and default.options:
        lines += ["", f"Options without a command, which is {group.default}:", *_listed(default.options)]
    return "\n".join([*lines, "", f"More on one: actr {group.name} COMMAND --help"])


def main_help(commands: dict[str, str]) -> str:
    """What `actr --help` prints; `commands` maps verbs to their summaries."""
    width = max(map(len, commands))
    verbs = [f"  {name:<{width}}  {summary}" for name, summary in commands.items()]
    lines = ["Usage: actr [OPTIONS] COMMAND ...", "", "Run containers with actord.", "", "Commands:", *verbs]
    options = ["", "Options (before or after the command):", *_listed(GLOBAL), ""]
    variables = "The variables ACTORD_ADDRESS and ACTORD_NAMESPACE say the same as the options."
    return "\n".join([*lines, *options, variables, "More on one: actr COMMAND --help"])


def _listed(options: tuple[Option, ...]) -> list[str]:
    shown = [(_spelled(option), option.help) for option in options]
    width = min(WIDEST, max(len(spelled) for spelled, _ in shown))
    return [line for spelled, text in shown for line in _entry(spelled, text, width)]


def _entry(spelled: str, text: str, width: int) -> list[str]:
    """An option on a line, or on two if it leaves no room for its text."""
    if len(spelled) <= width:
        return [f"  {spelled:<{width}}  {text}"]
    return [f"  {spelled}", f"  {'':<{width}}  {text}"]


def _spelled(option: Option) -> str:
    names = ", ".join(option.names)
    names = names if len(option.names) > 1 or len(names) == 2 else f"    {names}"
    return f"{names} {option.value}".rstrip()
