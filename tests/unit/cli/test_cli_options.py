"""The parser, its errors, the helps, and the completions made from the same descriptions."""

from __future__ import annotations

import pytest
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from cli.completion import everything
from cli.events import moment
from cli.examples import EXAMPLES, examples_of
from cli.main import COMMANDS, command, main, member
from cli.notes import NOTES
from cli.options import GLOBAL, LARGEST, Command, Given, HelpWanted, Option, UsageError, parse_command
from cli.session import DEFAULT_ADDRESS
from cli.usage import SECTIONS

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


def test_a_command_is_described_in_the_same_words_wherever_it_is_listed():
    commands, groups = everything()
    for name, summary in COMMANDS.items():
        said = groups[name].summary if name in groups else commands[name].summary
        assert said.lower() == summary.lower(), name
    for group in groups.values():
        for name, summary in group.verbs.items():
            assert member(group, name).summary.lower() == summary.lower(), (group.name, name)


def test_every_option_says_what_it_takes():
    for verb in everything()[0].values():
        for option in (*verb.options, *GLOBAL):
            assert all(choice in option.help for choice in option.choices), (verb.name, option.names)
            assert "repeat" not in option.help, "shown by ..."
            assert option.shown.endswith("...") == option.many


def test_short_names_that_stand_in_many_commands_mean_the_same_in_all():
    known: dict[str, set[str]] = {}
    for verb in everything()[0].values():
        for option in (*verb.options, *GLOBAL):
            for name in option.names[:-1]:
                known.setdefault(name, set()).add(option.key)
    assert all(len(known[name]) == 1 for name in ("-A", "-e", "-h", "-l", "-n", "-o", "-q", "-u", "-w"))


def test_the_defaults_of_the_global_options_are_those_that_hold():
    said = {option.key: option.help for option in GLOBAL}
    assert f"({DEFAULT_ADDRESS})" in said["address"]
    assert SECTIONS.keys() <= COMMANDS.keys()


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
        (["container", "ls"], "actr: unknown command container; did you mean ps?; see: actr --help"),
        (["volume"], "actr: volume wants one of create, ls, inspect, rm, prune; see: actr volume --help"),
        (["volume", "lss"], "actr: volume has no lss; did you mean ls?; see: actr volume --help"),
        (
            ["images", "-n", "a", "inpect"],
            "actr: images has no inpect; did you mean inspect?; see: actr images --help",
        ),
        (
            ["images", "--quite"],
            "actr: unknown option --quite; did you mean --quiet?; see: actr images --help",
        ),
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


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["help"], "Usage: actr [OPTIONS] COMMAND ..."),
        (["help", "run"], "Usage: actr run [OPTIONS]"),
        (["help", "volume"], "Usage: actr volume COMMAND ..."),
        (["--node", "h2", "volume", "--format", "json", "ls", "-h"], "Usage: actr volume ls"),
        (["images", "-q", "--help"], "Usage: actr images COMMAND ..."),
        (["--version"], "client  "),
    ],
)
def test_what_other_programs_have_taught_people_works(capsys, words, begins):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(begins)


@pytest.mark.parametrize("digits", [str(1 << 63), "9" * 5000], ids=("64 bits", "5,000 digits"))
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("logs", "--tail", "{}", "web"), "--tail wants a number of lines"),
        (("logs", "--since", "{}d", "web"), "is no time"),
        (("events", "--no-follow", "--since", "{}"), "is no time"),
        (("kill", "-s", "{}", "web"), "there is no signal"),
        (("create", "--memory", "{}", "image"), "--memory wants a size"),
        (("create", "--pids-limit", "{}", "image"), "--pids-limit wants a whole number"),
        (("create", "--net", "web,rate={}", "image"), "a rate is bytes per second"),
        (("create", "-p", "{}", "image"), "--publish wants"),
        (("network", "create", "--kind", "vxlan", "--opt", "vni={}", "web"), "--opt vni wants a number"),
        (("stop", "-t", "{}", "web"), "--time wants a number"),
    ],
)
def test_numbers_that_no_message_can_carry_are_refused_by_their_option(daemon, capsys, words, said, digits):
    daemon.on["containers.get"] = lambda asked: asked.fin({"id": "web", "actor": "container/default/web"})
    assert main([word.format(digits) for word in words]) == 2
    assert said in capsys.readouterr().err


def test_times_before_all_others_and_beyond_are_the_first_and_the_last():
    assert moment("999999999999d") == moment("1000-01-01T00:00") == 1
    assert moment("9999-12-31T00:00") == LARGEST


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("images", "mount", "busybox", ""), "images mount: DIRECTORY is empty"),
        (("images", "umount", "/x", ""), "images umount: DIRECTORY is empty"),
        (("checkpoint", "web", ""), "checkpoint: DIRECTORY is empty"),
        (("restore", "web", ""), "restore: DIRECTORY is empty"),
        (("system", "backup", ""), "system backup: DIRECTORY is empty"),
        (("import", "", "new"), "import: FILE is empty"),
        (("rename", "web", ""), "rename: NEW is empty"),
        (("cp", "web:", "x"), "cp: a path is empty"),
        (("cp", "web:/x", ""), "cp: a path is empty"),
        (("cp", "", "web:/x"), "cp: a path is empty"),
        (("cp", "x", "web:"), "cp: a path is empty"),
    ],
)
def test_what_is_empty_is_not_the_current_directory_and_no_name(daemon, capsys, words, said):
    """As a script gives one whose variable it has not set; to mount there hides what it works with."""
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert daemon.ops() == []


@pytest.mark.parametrize("words", [("run",), ("run", "-d"), ("create",), ("spec",), ("run", "--bundle", "")])
def test_without_an_image_it_is_said_what_is_wanted(daemon, capsys, words):
    assert main(words) == 2
    assert "an image is wanted, or --bundle DIR; see: actr" in capsys.readouterr().err
    assert daemon.ops() == []
