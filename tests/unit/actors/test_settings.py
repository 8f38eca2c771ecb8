from __future__ import annotations

import os
import re
import socket
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from actors.settings import Settings, SettingsError, load, metrics_address


def written(tmp, text):
    path = tmp / "actord.toml"
    path.write_text(text)
    return path


def refusal(tmp, text, **given):
    with pytest.raises(SettingsError) as caught:
        load(written(tmp, text), **given)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults():
    found = load(None)
    assert found == Settings(root=Path("/var/lib/actord"), state=Path("/run/actord"))
    assert (found.node, found.log_level, found.runtime_name) == (socket.gethostname(), "info", "runc")
    assert found.router_socket == Path("/run/actord/actord.sock")
    assert found.bundle("ns", "id") == Path("/run/actord/containers/ns/id")
    assert found.logs("ns", "id") == Path("/var/lib/actord/logs/ns/id")


def test_every_table_and_key(tmp):
    text = """
        root = "/r"
        state = "/s"
        node = "n"
        log_level = "debug"
        [metrics]
        listen = "[::1]:0"
        [runtime]
        name = "crun"
        binary = "/bin/crun"
        [registry]
        hosts = "/h"
        docker_config = "/c"
        plain_http = ["a:1", "b"]
        skip_verify = ["c"]
        layers_at_once = 4
        ranges_at_once = 5
        range_bytes = 65536
        ranges_after = 0
        bandwidth = 7
        total_bandwidth = 8
        [events]
        keep = 5
        [supervision]
        hang_after = 2
        sleep_after = 3
    """
    found = load(written(tmp, text))
    assert (found.root, found.state, found.node, found.log_level) == (Path("/r"), Path("/s"), "n", "debug")
    assert (found.runtime_name, found.runtime_binary) == ("crun", "/bin/crun")
    assert (found.registry_hosts, found.events_keep, found.supervision_hang_after) == ("/h", 5, 2)
    assert (found.registry_docker_config, found.registry_plain_http) == ("/c", ("a:1", "b"))
    assert (found.registry_skip_verify, found.registry_layers_at_once) == (("c",), 4)
    assert (found.registry_ranges_at_once, found.registry_range_bytes) == (5, 65536)
    assert (found.registry_ranges_after, found.registry_bandwidth) == (0, 7)
    assert (found.registry_total_bandwidth, found.supervision_sleep_after) == (8, 3)
    assert metrics_address(found) == ("::1", 0)


def test_the_example_file_shows_every_key_with_its_default(tmp):
    example = (Path(__file__).parents[3] / "etc" / "actord.toml").read_text()
    shown = load(written(tmp, re.sub(r"(?m)^#(?=[a-z_]+ = )", "", example)), node="n")
    assert shown == load(None, node="n")
    keys = set(re.findall(r"(?m)^#([a-z_]+) = ", example))
    for name in (item.name for item in fields(Settings)):
        assert name in keys or name.partition("_")[2] in keys or name == "failpoints"
    assert tomllib.loads(example) == {table: {} for table in re.findall(r"(?m)^\[(.*)\]", example)}


def test_the_command_line_wins_over_the_file(tmp):
    path = written(tmp, 'root = "/r"\nnode = "n"\n')
    assert load(path, node="m", root=None, state=Path("s")) == Settings(
        root=Path("/r"), state=Path.cwd() / "s", node="m"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "unknown configuration key colour; see etc/actord.toml for those there are"),
        ("[metrics]\ncolour = 1", "unknown configuration key metrics_colour; "),
        ("metrics = 1", "unknown configuration key metrics; "),
        ("[nothing]\na = 1", "unknown configuration key nothing; "),
        ("root = 1", "configuration key root must be of type str"),
        ("root = true", "configuration key root must be of type str"),
        ("[events]\nkeep = true", "configuration key events_keep must be of type int"),
        ('[events]\nkeep = "1"', "configuration key events_keep must be of type int"),
        ("[events]\nkeep = 1.0", "configuration key events_keep must be of type int"),
        ("[events]\nkeep = 0", "events keep is 0; keep at least 1"),
        ('[supervision]\nhang_after = "1"', "configuration key supervision_hang_after must be of type float"),
        (
            "[supervision]\nhang_after = true",
            "configuration key supervision_hang_after must be of type float",
        ),
        (
            "[supervision]\nsleep_after = 0.01",
            "supervision sleep_after is neither 0 nor between 0.1 and 86400",
        ),
        ("[supervision]\nhang_after = nan", "supervision hang_after is not between 0.2 and 3600 seconds"),
        ("[supervision]\nhang_after = 0.1", "supervision hang_after is not between 0.2 and 3600 seconds"),
        ("[metrics.listen]\na = 1", "configuration key metrics_listen must be of type str"),
        ('log_level = "loud"', "log level 'loud' is none of debug, info, warning, error"),
        ('[runtime]\nname = "runx"', "runtime 'runx' is neither runc nor crun"),
        ('root = "/a"\nstate = "/a"', "root and state are both /a; give each a directory of its own"),
        ('root = "/a"\nstate = "/a/"', "root and state are both /a; give each a directory of its own"),
        (f'state = "/{"s" * 96}"', "is too long for a Unix socket; use a shorter one"),
        ("root = ", "is not valid TOML: "),
        ('root = "a"\nroot = "b"', "is not valid TOML: "),
    ],
)
def test_what_is_refused_and_how(tmp, text, message):
    assert message in refusal(tmp, text)


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("0.0.0.0:1", "metrics listen address 0.0.0.0 is not a loopback address; use 127.0.0.1 or [::1]"),
        ("[::]:1", "is not a loopback address"),
        ("", "metrics listen address '' is not of the form 127.0.0.1:9323"),
        ("9323", "is not of the form"),
        (":9323", "is not of the form"),
        ("localhost:9323", "is not of the form"),
        ("127.0.0.1", "is not of the form"),
        ("127.0.0.1:", "is not of the form"),
        ("127.0.0.1:http", "is not of the form"),
        ("127.0.0.1:65536", "metrics port 65536 is not between 0 and 65535"),
        ("127.0.0.1:-1", "metrics port -1 is not between 0 and 65535"),
    ],
)
def test_the_metrics_address_is_on_loopback(tmp, listen, message):
    assert message in refusal(tmp, f'[metrics]\nlisten = "{listen}"')


def test_a_file_that_cannot_be_read(tmp):
    with pytest.raises(SettingsError, match=r"cannot read configuration file .*/none: No such file"):
        load(tmp / "none")
    with pytest.raises(SettingsError, match=r"cannot read .*: Is a directory"):
        load(tmp)
    (tmp / "binary").write_bytes(os.urandom(8) + b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load(tmp / "binary")


def test_the_longest_path_that_fits():
    assert len(str(load(None, state=Path("/" + "s" * 94)).router_socket)) == 107
    with pytest.raises(SettingsError, match="too long"):
        load(None, state=Path("/" + "s" * 96))
