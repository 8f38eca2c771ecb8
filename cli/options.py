"""Commands as data, and what was given on the command line read by that data.

The same description parses, prints help and writes the shell completions. Pure but for the exceptions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cli.session import Session


class UsageError(Exception):
    """The command line makes no sense; the text says what would."""


LARGEST = (1 << 63) - 1
"""What a message can carry of a number, and every store."""


PLACES = ("DIRECTORY", "FILE")
"""Arguments that may not be empty: a variable that a script has not set is not the current directory."""


def is_number(text: str) -> bool:
    """Whether these are the digits of a number, not negative and at most `LARGEST`."""
    return text.isdecimal() and len(text) <= 19 and int(text) <= LARGEST  # int itself refuses 5,000 digits


class HelpWanted(Exception):  # noqa: N818  # not an error
    """-h or --help was given."""


class Option:
    """One option.

    Attributes:
        names: as typed, the last one is the name that the command asks for, less its dashes.
        value: what follows it, in capitals; empty for a flag.
        many: may be given more than once.
        choices: the only values allowed, empty for any.
        template: a value with `{{` is allowed too.
    """

    __slots__ = ("choices", "help", "many", "names", "template", "value")

    def __init__(
        self,
        names: str,
        text: str,
        *,
        value: str = "",
        many: bool = False,
        choices: tuple[str, ...] = (),
        template: bool = False,
    ) -> None:
        self.template = template
        self.names = tuple(names.split())
        self.help = text
        self.value = value
        self.many = many
        self.choices = choices

    @property
    def key(self) -> str:
        """The long name without its dashes."""
        return self.names[-1].lstrip("-")

    @property
    def shown(self) -> str:
        """The names with what follows, as the help shows it; `...` for what may be given more than once."""
        return f"{', '.join(self.names)} {self.value}{'...' * self.many}".rstrip()


class Command:
    """One verb.

    Attributes:
        name: the verb.
        summary: one line of help.
        arguments: what it takes, as the help shows it; `[X]` may be left out, `X...` may be repeated.
        options: its own options, beside the global ones.
        run: does it; returns the exit code.
        literal: from the last argument on, everything is taken as it is, dashes or not.
    """

    __slots__ = ("arguments", "literal", "name", "options", "run", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        run: Callable[[Session, Given], int],
        *,
        arguments: tuple[str, ...] = (),
        options: tuple[Option, ...] = (),
        literal: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.arguments = arguments
        self.options = options
        self.literal = literal

    @property
    def fewest(self) -> int:
        """How many arguments it needs."""
        return sum(not argument.startswith("[") for argument in self.arguments)

    @property
    def most(self) -> int | None:
        """How many arguments it takes, None for any number."""
        if self.arguments and self.arguments[-1].rstrip("]").endswith("..."):
            return None
        return len(self.arguments)


class Group:
    """Verbs that belong together: `actr system df`. Its package has a module for each of them.

    Attributes:
        verbs: each verb with one line of help.
        default: the verb when none of them follows; empty when one must.
    """

    __slots__ = ("default", "name", "summary", "verbs")

    def __init__(self, name: str, summary: str, verbs: dict[str, str], *, default: str = "") -> None:
        self.name = name
        self.summary = summary
        self.verbs = verbs
        self.default = default


class Given:
    """What was given: options by their key, and the arguments in order."""

    __slots__ = ("_values", "arguments")

    def __init__(self) -> None:
        self.arguments: list[str] = []
        self._values: dict[str, list[str]] = {}

    def add(self, option: Option, value: str) -> None:
        """Note an option; the last one counts, unless it may be given many times."""
        kept = self._values.setdefault(option.key, []) if option.many else []
        self._values[option.key] = [*kept, value]

    def flag(self, key: str) -> bool:
        """Whether it was given."""
        return key in self._values

    def text(self, key: str, default: str = "") -> str:
        """Its value, or the default."""
        return self._values.get(key, [default])[-1]

    def many(self, key: str) -> list[str]:
        """All its values."""
        return list(self._values.get(key, ()))

    def number(self, key: str, default: float) -> float:
        """Its value as a number, not negative. Raises UsageError."""
        text = self.text(key)
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if not 0 <= value < 1e9:
            raise UsageError(f"--{key} wants a number, not {text!r}")
        return value

    def pairs(self, key: str) -> dict[str, str]:
        """Its values, each `K=V`, as a dictionary. Raises UsageError."""
        found = {}
        for text in self.many(key):
            name, _, value = text.partition("=")
            if not name:
                raise UsageError(f"--{key} wants KEY=VALUE, not {text!r}")
            found[name] = value
        return found


ADDRESS = Option(
    "--address",
    "the daemon's socket, the directory it is in, or a connection file of actr keys new"
    " (/run/actord/actord.sock)",
    value="PATH",
)
NAMESPACE = Option("-n --namespace", "namespace to work in (default)", value="NAME")
FORMAT = Option(
    "--format",
    "how lists and records are printed: table, json, or a template such as '{{.Name}}' (table)",
    value="FORMAT",
    choices=("table", "json"),
    template=True,
)
NODE = Option("--node", "work at another node, one of actr node ls (the one at --address)", value="NODE")
TRACE = Option("--trace", "32 hexadecimal digits to find this by in all logs (a new id)", value="ID")
DEBUG = Option("--debug", "print the trace id, and of an error also who refused what")
HELP = Option("-h --help", "show this help")
GLOBAL = (ADDRESS, NODE, NAMESPACE, FORMAT, TRACE, DEBUG, HELP)

# What several commands have
QUIET = Option("-q --quiet", "show no progress")
NAMES_ONLY = Option("-q --quiet", "print names only")
DIGEST_ONLY = Option("-q --quiet", "print the digest only, and show no progress")
LABEL = Option("-l --label", "a label to give it", value="K=V", many=True)
PLATFORM = Option(
    "--platform",
    "which platform of an image that has several, such as linux/arm64 (this machine's)",
    value="OS/ARCH",
)
UNPACKED_PLATFORM = Option(
    "--platform",
    "which platform of an image that has several to unpack, such as linux/arm64 (this machine's)",
    value="OS/ARCH",
)
NO_UNPACK = Option("--no-unpack", "store it only; it cannot be run until it is pulled or loaded again")


def parse(options: tuple[Option, ...], words: list[str], given: Given, stop_after: int | None) -> list[str]:
    """Read options and arguments into `given`; returns what is left after `stop_after` arguments.

    Raises:
        UsageError: an unknown option, a missing value, or a value that is not allowed.
        HelpWanted: -h or --help.
    """
    known = {name: option for option in options for name in option.names}
    left = list(words)
    taken = 0
    while left:
        if stop_after is not None and taken >= stop_after:
            return left
        word = left.pop(0)
        if word == "--":
            given.arguments += left
            return []
        if word.startswith("-") and len(word) > 1:
            _option(known, word, left, given)
        else:
            given.arguments.append(word)
            taken += 1
    return []


def _option(known: dict[str, Option], word: str, left: list[str], given: Given) -> None:
    """One word of options: `--long`, `--long=value`, `-s`, `-svalue`, or flags in one (`-aq`)."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        option = _known(known, name)
        if equals and not option.value:
            raise UsageError(f"{name} takes no value")
        _note(option, name, [value, *left] if equals else left, given)
        if not equals and option.value:
            left.pop(0)
        return
    name, rest = word[:2], word[2:]
    option = _known(known, name)
    if not option.value:
        _note(option, name, left, given)
        if rest:
            _option(known, f"-{rest}", left, given)
        return
    _note(option, name, [rest.removeprefix("="), *left] if rest else left, given)
    if not rest:
        left.pop(0)


def _note(option: Option, name: str, values: list[str], given: Given) -> None:
    if option is HELP:
        raise HelpWanted
    if option.value and not values:
        raise UsageError(f"{name} wants a value: {name} {option.value}")
    value = values[0] if option.value else ""
    if option.choices and value not in option.choices and not (option.template and "{{" in value):
        known = [*option.choices, *["'{{.Field}}'"] * option.template]
        raise UsageError(f"{name} is one of {', '.join(known)}, not {value!r}")
    given.add(option, value)


def _known(known: dict[str, Option], name: str) -> Option:
    if name in known:
        return known[name]
    raise UsageError(f"unknown option {name}{near(name, known)}")


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing."""
    from difflib import get_close_matches  # only a mistake pays for it

    found = get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def parse_command(command: Command, words: list[str], given: Given) -> None:
    """Read what follows the verb. Raises UsageError, HelpWanted."""
    stop = len(command.arguments) - 1 if command.literal else None
    given.arguments += parse((*command.options, *GLOBAL), words, given, stop)
    count = len(given.arguments)
    if count < command.fewest:
        raise UsageError(f"{command.name} wants {' '.join(command.arguments)}")
    if command.most is not None and count > command.most:
        raise UsageError(f"{command.name} does not take {given.arguments[command.most]!r}")
    for number, word in enumerate(given.arguments):
        what = command.arguments[min(number, len(command.arguments) - 1)].strip("[].")
        if not word and what in PLACES:
            raise UsageError(f"{command.name}: {what} is empty; . is the current directory")
