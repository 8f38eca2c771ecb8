"""actr completion: scripts for shells, and what they ask at each press of the key.

The scripts know nothing of commands and options: the shell hands over the line so far, and is told what its
last word may be, by the commands' own descriptions. So they are in step whatever changes.
"""

from __future__ import annotations

from cli.options import GLOBAL, Command, Given, Group, Option, UsageError
from cli.table import familiar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cli.session import Session

    Words = list[tuple[str, str]]  # each with what is said beside it

LIMIT = 2.0  # seconds for the daemon to say what there is
SHELLS = ("bash", "zsh", "fish")
_SCRIPTS = {
    "bash": r"""# bash completion for actr
_actr() {
  local line=${COMP_LINE:0:COMP_POINT} current breaks=${COMP_WORDBREAKS//[^:=]} prefix=
  local -a words
  IFS=$' \t\n' read -ra words <<< "$line"
  [[ $line != *[[:space:]] ]] || words+=("")
  current=${words[${#words[@]} - 1]}
  [[ -z $breaks ]] || prefix=${current%"${current##*[$breaks]}"}  # there a word begins, for readline
  mapfile -t COMPREPLY < <("$1" completion bash "${words[@]:1}" 2>/dev/null)
  COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
}
complete -o default -F _actr actr""",
    "zsh": r"""#compdef actr
_actr() {
  local -a found
  found=("${(@f)$($words[1] completion zsh "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)}")
  if [[ -n $found[1] ]]; then _describe 'actr' found; else _files; fi
}
if [[ $funcstack[1] == _actr ]]; then _actr "$@"; else compdef _actr actr; fi""",
    "fish": r"""# fish completion for actr
function __actr_words
  set -l words (commandline -opc)
  set -l name $words[1]
  set -e words[1]
  set -l current (commandline -ct)
  set -l found ($name completion fish $words "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path "$current"
  end
end
complete -c actr -f -a '(__actr_words)'""",
}
_ASKED = {
    "CONTAINER": ("metadata", "containers.list", "containers", "name"),
    "IMAGE": ("metadata", "images.list", "images", "name"),
    "VOLUME": ("volumes", "volumes.list", "volumes", "name"),
    "LEASE": ("metadata", "leases.list", "leases", "id"),
    "DIGEST": ("content", "content.list", "blobs", "digest"),
    "REF": ("content", "content.statuses", "ingests", "ref"),
    "NETWORK": ("network", "network.list", "networks", "name"),
    "NODE": ("nodes", "nodes.list", "nodes", "name"),
    "KEY": ("metadata", "keys.list", "keys", "name"),
}
"""What lists the things that an argument or a value may name: actor, operation, and where the names are."""
_EVERYWHERE = ("NETWORK", "NODE", "KEY")  # they are in no namespace
_MANY = ("CONTAINER", "IMAGE", "VOLUME", "LEASE", "DIGEST")  # they come in pages


def run(session: Session, given: Given) -> int:
    """Print the script, or what the last of some words may be."""
    del session
    shell, *words = given.arguments
    if shell not in SHELLS:
        raise UsageError(f"completion is for {', '.join(SHELLS)}, not {shell!r}")
    if not words:
        print(_SCRIPTS[shell])
    for word, text in candidates(words) if words else ():
        print(_line(shell, word, text))
    return 0


def _line(shell: str, word: str, text: str) -> str:
    if shell == "zsh":
        return word.replace(":", r"\:") + (f":{text}" if text else "")
    return f"{word}\t{text}" if shell == "fish" else word


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


def candidates(words: list[str]) -> Words:
    """What the last word may be, by those before it; nothing where it may be anything, such as a file."""
    *before, current = words
    line = Line()
    for word in before:
        line.take(word)
    prefix = ""
    name, equals, value = current.partition("=")
    if equals and line.option is None and name in line.known:
        line.option, prefix = line.known[name], f"{name}="
    found = line.following(value if prefix else current)
    return [(prefix + word, text) for word, text in found if (prefix + word).startswith(current)]


class Line:
    """A command line as far as it has come, right or wrong.

    Attributes:
        verb: the command, or the group of which no command has come yet.
        option: the one whose value comes next.
    """

    def __init__(self) -> None:
        self.verb: Command | Group | None = None
        self.option: Option | None = None
        self._arguments = 0
        self._given = Given()

    @property
    def known(self) -> dict[str, Option]:
        """Options that may come next, by their names."""
        from cli.main import member

        verb = self.verb
        if isinstance(verb, Group):
            verb = member(verb, verb.default) if verb.default else None
        own = verb.options if verb else ()
        return {name: option for option in (*own, *GLOBAL) for name in option.names}

    def take(self, word: str) -> None:
        """One more word, which is complete."""
        from cli.main import COMMANDS, command, member

        if self.option is not None:
            self._given.add(self.option, word)
            self.option = None
        elif word.startswith("-") and not self._is_literal:
            self._take_option(*word.partition("="))
        elif isinstance(self.verb, Command):
            self._arguments += 1
        elif isinstance(self.verb, Group) and word in self.verb.verbs:
            self.verb = member(self.verb, word)
        elif self.verb is None and word in COMMANDS:
            self.verb = command(word)

    def _take_option(self, name: str, equals: str, value: str) -> None:
        option = self.known.get(name)
        if option is None or not option.value:
            return
        if equals:
            self._given.add(option, value)
        else:
            self.option = option

    @property
    def _is_literal(self) -> bool:
        """Whether what comes is for the program in the container."""
        verb = self.verb
        return isinstance(verb, Command) and verb.literal and self._arguments >= len(verb.arguments) - 1

    def following(self, current: str) -> Words:
        """What may come next; `current` is what there is of it."""
        from cli.main import COMMANDS

        if self.option is not None:
            kinds = self.option.choices or (self.option.value,)
            return [(name, "") for kind in kinds for name in self._named(kind, current)]
        if current.startswith("-") and not self._is_literal:
            return [(name, option.help) for name, option in self.known.items()]
        if self.verb is None:
            return list(COMMANDS.items())
        if isinstance(self.verb, Group):
            return list(self.verb.verbs.items())
        kinds = tuple(_placeholder(self.verb, self._arguments).split("|"))
        return [(name, "") for kind in kinds for name in self._named(kind, current)]

    def _named(self, kind: str, current: str) -> list[str]:
        """A word that stands for itself, or the names of what there is of a kind."""
        if kind in _ASKED:
            names = _names(kind, self._given)
            shorten = kind == "IMAGE" and not current.startswith("docker.io/")
            return [familiar(name) for name in names] if shorten else names
        if kind == "SHELL":
            return list(SHELLS)
        return [kind] if kind.islower() else []


def _placeholder(verb: Command, number: int) -> str:
    """What stands in the help for an argument, less its signs."""
    if number >= len(verb.arguments) and (verb.most is not None or not verb.arguments):
        return ""
    shown = verb.arguments[min(number, len(verb.arguments) - 1)]
    return shown.lstrip("[").partition("[")[0].rstrip("].")


def _names(kind: str, given: Given) -> list[str]:
    """What there is of a kind where the line wants to work; nothing where nobody answers."""
    from cli.session import RefusedError, session
    from transport.client import NotRunningError
    from transport.errors import ProtocolError

    actor, operation, where, key = _ASKED[kind]
    try:
        there = session(given)
        body: dict[str, Any] = {} if kind in _EVERYWHERE else {"namespace": there.namespace}
        if kind == "CONTAINER":
            body["brief"] = True
        if kind in _MANY:
            found = there.ask_all(actor, operation, body, where, limit=LIMIT)
        else:
            found = there.ask(actor, operation, body, limit=LIMIT)[where]
    except (RefusedError, NotRunningError, ProtocolError, UsageError, OSError):
        return []
    there.close()
    return [str(one[key]) for one in found]


COMMAND = Command(
    "completion",
    "Print the completion script for a shell",
    run,
    arguments=("SHELL", "[WORD...]"),
    literal=True,
)
