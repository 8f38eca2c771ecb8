import base64
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport.registry.challenge import Challenge, parse_challenges
from transport.registry.credentials import DockerConfig, GivenLogin, Login
from transport.registry.errors import FailedPreconditionError


def auth(username, password):
    return base64.b64encode(f"{username}:{password}".encode()).decode()


@pytest.fixture
def config(tmp_path):
    def write(document, **settings):
        path = tmp_path / "config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return DockerConfig(path, **settings)

    return write


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """Puts a credential helper on PATH whose script is given; it notes what it was asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def write(name, script):
        path = tmp_path / f"docker-credential-{name}"
        path.write_text(f'#!/bin/sh\nread asked\necho "$1 $asked" >> {tmp_path}/asked\n{script}\n')
        path.chmod(stat.S_IRWXU)
        return lambda: (tmp_path / "asked").read_text().splitlines()

    return write


ANSWER = 'echo \'{"ServerURL":"x","Username":"%s","Secret":"%s"}\''


@pytest.mark.parametrize(
    "key", ["reg.test:5000", "https://reg.test:5000", "http://reg.test:5000/v2/", "https://reg.test:5000/v1/"]
)
def test_auths_are_found_by_host_with_or_without_scheme_and_version(config, key):
    found = config({"auths": {key: {"auth": auth("anna", "a:b")}}})
    assert found.lookup("reg.test:5000") == Login("anna", "a:b")
    assert found.lookup("reg.test") is None
    assert found.lookup("reg.test:5001") is None


def test_docker_hub_has_a_key_of_its_own(config):
    found = config({"auths": {"https://index.docker.io/v1/": {"auth": auth("anna", "word")}}})
    assert found.lookup("registry-1.docker.io") == Login("anna", "word")


def test_a_key_for_a_part_of_a_host_is_not_for_all_of_it(config):
    assert config({"auths": {"reg.test/team": {"auth": auth("anna", "word")}}}).lookup("reg.test") is None


def test_identity_tokens_and_plain_fields(config):
    found = config(
        {
            "auths": {
                "one.test": {"auth": auth("anna", ""), "identitytoken": "t1"},
                "two.test": {"auth": auth("<token>", "t2")},
                "three.test": {"username": "carl", "password": "word"},
                "four.test": {},
            }
        }
    )
    assert found.lookup("one.test") == Login("anna", identity_token="t1")
    assert found.lookup("two.test") == Login(identity_token="t2")
    assert found.lookup("three.test") == Login("carl", "word")
    assert found.lookup("four.test") is None


def test_no_file_is_no_login(tmp_path):
    assert DockerConfig(tmp_path / "none").lookup("reg.test") is None


@pytest.mark.parametrize("text", ["{", "[]", '"secret-word"', "[" * 100_000, "x" * (1 << 20) + "y"])
def test_a_broken_file_is_named_but_not_quoted(config, text):
    with pytest.raises(FailedPreconditionError, match=r"config\.json is not") as caught:
        config(text).lookup("reg.test")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["%%%", base64.b64encode(b"no-colon").decode()])
def test_a_malformed_auth_entry_is_an_error(config, value):
    with pytest.raises(FailedPreconditionError, match="malformed auth entry"):
        config({"auths": {"reg.test": {"auth": value}}}).lookup("reg.test")


def test_tables_of_a_wrong_kind_hold_nothing(config):
    assert config({"auths": [], "credHelpers": 5}).lookup("reg.test") is None
    assert config({"auths": {"reg.test": "text"}}).lookup("reg.test") is None


def test_a_helper_for_the_host_comes_before_the_common_one_and_the_file(config, helper):
    helper("own", ANSWER % ("anna", "own-word"))
    asked = helper("all", ANSWER % ("<token>", "all-token"))
    found = config(
        {
            "credHelpers": {"reg.test": "own"},
            "credsStore": "all",
            "auths": {"reg.test": {"auth": auth("bob", "file-word")}},
        }
    )
    assert found.lookup("reg.test") == Login("anna", "own-word")
    assert found.lookup("other.test") == Login(identity_token="all-token")
    assert found.lookup("docker.io") == Login(identity_token="all-token")
    assert asked() == ["get reg.test", "get other.test", "get https://index.docker.io/v1/"]


def test_a_helper_without_a_login_leaves_it_to_the_file(config, helper):
    helper("all", "echo credentials not found in native keychain; exit 1")
    found = config({"credsStore": "all", "auths": {"reg.test": {"auth": auth("bob", "word")}}})
    assert found.lookup("reg.test") == Login("bob", "word")
    assert found.lookup("other.test") is None


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo secret-word; exit 3", "failed for reg.test with status 3"),
        ("echo secret-word", "did not answer with a credential"),
        ('echo \'{"Username":"secret-word"}\'', "did not answer with a credential"),
        ("exec sleep 60", "did not answer within 0.5 s"),
        ("sleep 60 & wait", "did not answer within 0.5 s"),
    ],
)
def test_a_failing_helper_is_named_but_its_words_are_not(config, helper, script, text):
    helper("bad", script)
    with pytest.raises(FailedPreconditionError, match=text) as caught:
        config({"credsStore": "bad"}, helper_seconds=0.5).lookup("reg.test")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a b", "", 5, "missing"])
def test_a_helper_that_cannot_be_run_is_an_error(config, name):
    with pytest.raises(FailedPreconditionError, match=r"helper|cannot be run"):
        config({"credHelpers": {"reg.test": name}}).lookup("reg.test")


def test_secrets_do_not_show():
    shown = repr(GivenLogin("reg.test", Login("anna", "s3cret", "t0ken")))
    assert "anna" in shown
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_a_given_login_is_for_its_host_only():
    given_login = GivenLogin("docker.io", Login("anna", "word"))
    assert given_login.lookup("registry-1.docker.io") == Login("anna", "word")
    assert given_login.lookup("docker.io.evil.test") is None


@pytest.mark.parametrize(
    ("lines", "challenges"),
    [
        (
            ['Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull,push"'],
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.test/token",
                        "service": "reg",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        (["basic Realm=plain"], [Challenge("basic", {"realm": "plain"})]),
        (
            ['Negotiate, Basic realm="a, b", Bearer realm = "c\\"d"'],
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "a, b"}),
                Challenge("bearer", {"realm": 'c"d'}),
            ],
        ),
        (
            ["Basic realm=a", "Bearer realm=b"],
            [Challenge("basic", {"realm": "a"}), Challenge("bearer", {"realm": "b"})],
        ),
        (['Bearer realm="unclosed'], [Challenge("bearer", {})]),
        (["realm=a"], []),
        ([""], []),
    ],
)
def test_challenges(lines, challenges):
    assert parse_challenges(lines) == challenges


@given(st.lists(st.text(alphabet='aB =,"\\;:/\t', max_size=200), max_size=4))
def test_any_header_can_be_read(lines):
    for challenge in parse_challenges(lines):
        assert challenge.scheme == challenge.scheme.lower() != ""
