"""actr completion: scripts for shells, made from the commands' own descriptions."""

from __future__ import annotations

from cli.options import GLOBAL, Command, Given, Group, Option, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.session import Session

SHELLS = ("bash", "zsh", "fish")
NAMES = {
    "CONTAINER": "actr ps -a --names 2>/dev/null",
    "NAME": "actr ps -a --names 2>/dev/null; actr images -q 2>/dev/null",
    "IMAGE": "actr images -q 2>/dev/null",
}
"""What lists the names that an argument may have."""


def run(session: Session, given: Given) -> int:
    """Print the script."""
    del session
    from cli.main import COMMANDS

    shell = given.arguments[0]
    if shell not in SHELLS:
        raise UsageError(f"completion is for {', '.join(SHELLS)}, not {shell!r}")
    commands, groups = everything()
    print({"bash": bash, "zsh": zsh, "fish": fish}[shell](commands, groups, COMMANDS))
    return 0


def everything() -> tuple[dict[str, Command], dict[str, Group]]:
    """Every command by its words (`ps`, `system df`), and every group.

    A group with a default is a command too.
    """
    from cli.main import COMMANDS, command, member

    commands: dict[str, Command] = {}
    groups: dict[str, Group] = {}
    for name in COMMANDS:
        found = command(name)
        if isinstance(found, Command):
            commands[name] = found
            continue
        groups[name] = found
        commands |= {f"{name} {verb}": member(found, verb) for verb in found.verbs}
        if found.default:
            commands[name] = member(found, found.default)
    return commands, groups


def words_of(command: Command) -> str:
    """All option names of a command."""
    return " ".join(name for option in (*command.options, *GLOBAL) for name in option.names)


def lister_of(command: Command) -> str:
    """A shell command that lists what its first argument may be, or an empty text."""
    if command.name == "completion":
        return f"printf '%s\\n' {' '.join(SHELLS)}"
    first = command.arguments[0].strip("[].") if command.arguments else ""
    return NAMES.get(first, "")


def bash(commands: dict[str, Command], groups: dict[str, Group], summaries: dict[str, str]) -> str:
    """Load it with: eval "$(actr completion bash)"."""
    cases = [
        f'    "{name}") options="{words_of(command)}"; names=$({lister_of(command) or ":"}) ;;'
        for name, command in commands.items()
    ]
    verbs = [f'    "{name}") names="$names {" ".join(group.verbs)}" ;;' for name, group in groups.items()]
    inner = " ".join(f"{name}:{verb}" for name, group in groups.items() for verb in group.verbs)
    everywhere = " ".join(name for option in GLOBAL for name in option.names)
    taking = " ".join(name for option in GLOBAL if option.value for name in option.names)
    lines = (
        "# bash completion for actr",
        "_actr() {",
        "  local current=${COMP_WORDS[COMP_CWORD]} verb= options= names= word skip=",
        "  COMPREPLY=()",
        '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
        '    if [ -n "$skip" ]; then skip=; continue; fi',
        f'    case " {taking} " in *" $word "*) skip=1; continue ;; esac',
        "    case $word in",
        "      -*) ;;",
        '      *) if [ -z "$verb" ]; then verb=$word; continue; fi',
        f'         case " {inner} " in *" $verb:$word "*) verb="$verb $word" ;; esac; break ;;',
        "    esac",
        "  done",
        "  case $verb in",
        f'    "") options="{everywhere}"; names="{" ".join(summaries)}" ;;',
        *cases,
        "  esac",
        *(["  case $verb in", *verbs, "  esac"] if verbs else []),
        "  case $current in",
        '    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;',
        '    *) COMPREPLY=($(compgen -W "$names" -- "$current")) ;;',
        "  esac",
        "}",
        "complete -o default -F _actr actr",
    )
    return "\n".join(lines)


def zsh(commands: dict[str, Command], groups: dict[str, Group], summaries: dict[str, str]) -> str:
    """Load it with: source <(actr completion zsh), after compinit."""
    verbs = [f"    {_quoted(f'{name}:{summary}')}" for name, summary in summaries.items()]
    cases = []
    for name, command in commands.items():
        options = (*command.options, *GLOBAL)
        described = " ".join(_quoted(f"{one}:{option.help}") for option in options for one in option.names)
        lister = lister_of(command)
        names = f'names=(${{(f)"$({lister})"}})' if lister else "names=()"
        cases.append(f"    {_quoted(name)}) options=({described}); {names} ;;")
    inner = [f"    {_quoted(name)}) names+=({' '.join(group.verbs)}) ;;" for name, group in groups.items()]
    both = "|".join(_quoted(f"{name} {verb}") for name, group in groups.items() for verb in group.verbs)
    lines = (
        "#compdef actr",
        "_actr() {",
        "  local -a verbs options names",
        "  verbs=(",
        *verbs,
        "  )",
        "  if (( CURRENT == 2 )); then _describe 'command' verbs; return; fi",
        "  local verb=$words[2]",
        *([f'  case "$words[2] $words[3]" in ({both}) verb="$words[2] $words[3]" ;; esac'] if both else []),
        "  case $verb in",
        *cases,
        "  esac",
        *(["  case $verb in", *inner, "  esac"] if inner else []),
        "  if [[ $PREFIX == -* ]]; then _describe 'option' options; return; fi",
        "  compadd -a names || _files",
        "}",
        "compdef _actr actr",
    )
    return "\n".join(lines)


def fish(commands: dict[str, Command], groups: dict[str, Group], summaries: dict[str, str]) -> str:
    """Load it with: actr completion fish | source."""
    lines = ["# fish completion for actr", "complete -c actr -f"]
    for name, summary in summaries.items():
        lines.append(f"complete -c actr -n __fish_use_subcommand -a {name} -d {_quoted(summary)}")
    for name, command in commands.items():
        each = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        seen = _quoted(each)
        lines += [f"complete -c actr -n {seen} {_fish_option(option)}" for option in command.options]
        lister = lister_of(command)
        if lister:
            lines.append(f"complete -c actr -n {seen} -a {_quoted(f'({lister})')}")
    for name, group in groups.items():
        seen = _quoted(f"__fish_seen_subcommand_from {name}")
        lines += [
            f"complete -c actr -n {seen} -a {verb} -d {_quoted(text)}" for verb, text in group.verbs.items()
        ]
    lines += [f"complete -c actr {_fish_option(option)}" for option in GLOBAL]
    return "\n".join(lines)


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    value = " -r" if option.value else ""
    choices = f" -a {_quoted(' '.join(option.choices))}" if option.choices else ""
    return f"{' '.join(names)}{value}{choices} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    quote = "'\\''"
    return f"'{text.replace(chr(39), quote)}'"


COMMAND = Command(
    "completion",
    "Print the completion script for a shell",
    run,
    arguments=("SHELL",),
)
