"""The parser, its errors, the helps, and the completions made from the same descriptions."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from cli.completion import everything
from cli.examples import EXAMPLES, examples_of
from cli.main import COMMANDS, command, main
from cli.notes import NOTES, notes_of
from cli.options import Command, Given, HelpWanted, Option, UsageError, parse_command

OPTIONS = (
    Option("-d --detach", "flag"),
    Option("-q --quiet", "flag"),
    Option("-e --env", "many", value="K=V", many=True),
    Option("-w --workdir", "one", value="DIR"),
    Option("--pull", "choice", value="WHEN", choices=("always", "never")),
)
LITERAL = Command(
    "run", "S", lambda *_: 0, arguments=("IMAGE", "[COMMAND...]"), options=OPTIONS, literal=True
)
FREE = Command("rm", "S", lambda *_: 0, arguments=("CONTAINER...",), options=OPTIONS)


def read(verb, *words):
    found = Given()
    parse_command(verb, list(words), found)
    return found


def test_every_way_to_write_an_option():
    found = read(FREE, "-dq", "-eA=1", "-e", "B=2", "--env=C=3", "--env", "D=4", "-w/x", "--workdir=/y", "a")
    assert found.flag("detach")
    assert found.flag("quiet")
    assert found.many("env") == ["A=1", "B=2", "C=3", "D=4"]
    assert found.text("workdir") == "/y"
    assert found.arguments == ["a"]


def test_options_may_follow_arguments():
    found = read(FREE, "a", "-d", "b", "--", "-q")
    assert found.arguments == ["a", "b", "-q"]
    assert found.flag("detach")
    assert not found.flag("quiet")


def test_a_command_to_run_is_taken_literally():
    found = read(LITERAL, "-d", "image", "sh", "-e", "--", "--help", "-w")
    assert found.arguments == ["image", "sh", "-e", "--", "--help", "-w"]
    assert not found.flag("env")


@hypothesis_given(st.lists(st.text()))
def test_any_command_to_run_arrives_unchanged(words):
    assert read(LITERAL, "--", "image", *words).arguments == ["image", *words]
    assert read(LITERAL, "image", *words).arguments == ["image", *words]


@hypothesis_given(st.lists(st.text(alphabet="-ab=deqw", max_size=6)))
def test_whatever_is_typed_is_read_or_refused(words):
    try:
        read(FREE, *words)
    except (UsageError, HelpWanted):
        return


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--detatch", "x"], "unknown option --detatch; did you mean --detach?"),
        (["-z"], "unknown option -z"),
        (["--workdir"], "--workdir wants a value: --workdir DIR"),
        (["-e"], "-e wants a value: -e K=V"),
        (["--detach=1"], "--detach takes no value"),
        (["--pull", "now"], "--pull is one of always, never, not 'now'"),
        ([], "rm wants CONTAINER..."),
    ],
)
def test_mistakes_are_explained(words, text):
    with pytest.raises(UsageError) as caught:
        read(FREE, *words)
    assert text in str(caught.value)


def test_too_many_arguments():
    one = Command("logs", "S", lambda *_: 0, arguments=("CONTAINER",))
    with pytest.raises(UsageError, match="logs does not take 'b'"):
        read(one, "a", "b")


def test_values():
    found = read(
        Command(
            "x", "S", lambda *_: 0,
            options=(Option("--time", "", value="S"), Option("--label", "", value="K=V", many=True)),
        ),
        "--time", "2.5", "--label", "a=b=c", "--label", "d",
    )  # fmt: skip
    assert found.number("time", 1) == 2.5
    assert found.pairs("label") == {"a": "b=c", "d": ""}
    assert found.number("other", 7) == 7


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf", "1e99"])
def test_numbers_that_are_none(text):
    verb = Command("x", "S", lambda *_: 0, options=(Option("--time", "", value="S"),))
    with pytest.raises(UsageError, match="--time wants a number"):
        read(verb, f"--time={text}").number("time", 1)


def test_every_command_has_its_file_and_its_help(capsys):
    for name in COMMANDS:
        assert command(name).name == name
    commands, groups = everything()
    for name, verb in commands.items():
        assert verb.name == (f"{name} {groups[name].default}" if name in groups else name)
        assert verb.summary
        assert main([*name.split(), "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"Usage: actr {name}")
        assert all(option.names[-1] in out for option in verb.options)
        names = [one for option in verb.options for one in option.names]
        assert len(names) == len(set(names))
        assert not {"-n", "-h", "--format", "--help"} & set(names)


def test_help_fits_a_terminal(capsys):
    for words in (["--help"], *([*name.split(), "-h"] for name in everything()[0])):
        main(words)
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_every_command_says_what_it_does_with_an_example_and_what_each_option_is():
    commands, groups = everything()
    assert not commands.keys() - {*EXAMPLES, *(f"{name}" for name in groups)}, "an example for each"
    assert not NOTES.keys() - {verb.name for verb in commands.values()}, "notes on what there is"
    for verb in commands.values():
        assert examples_of(verb.name), verb.name
        assert all(option.help for option in verb.options), verb.name
        assert all(len(line) <= 80 for line in notes_of(verb.name)), verb.name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pss"], "actr: unknown command pss; did you mean ps?; see: actr --help"),
        (["ps", "--al"], "actr: unknown option --al; did you mean --all?; see: actr ps --help"),
        (
            ["--format", "xml", "ps"],
            "actr: --format is one of table, json, '{{.Field}}', not 'xml'; see: actr --help",
        ),
        (["rm"], "actr: rm wants CONTAINER...; see: actr rm --help"),
        (["completion", "tcsh"], "actr: completion is for bash, zsh, fish, not 'tcsh'"),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(capsys, words, said):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


def test_without_a_command_the_help_is_an_error(capsys):
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0]) == ("", "Usage: actr [OPTIONS] COMMAND ...")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_every_command_and_are_valid(capsys, shell):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    assert "detach" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("actr ru", ["run"]),
        ("actr --address /x ps --na", ["--names", "--namespace"]),
        ("actr -n other completion z", ["zsh"]),
    ],
)
def test_bash_completes(capsys, line, wanted):
    main(["completion", "bash"])
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _actr; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"{capsys.readouterr().out}\n{ask}\n"
    done = subprocess.run(["bash"], input=script, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == wanted
