import base64
import json
import traceback
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.scripted_registry import Answer
from transport.registry.auth import Authorizer, parse_token
from transport.registry.client import RegistryClient
from transport.registry.connections import Connections
from transport.registry.credentials import GivenLogin, Login
from transport.registry.endpoint import Endpoint
from transport.registry.errors import BadContentError, PermissionDeniedError, UnavailableError
from transport.registry.hosts import Hosts

BASIC = "Basic " + base64.b64encode(b"anna:s3cret-word").decode()
TAGS = json.dumps({"tags": ["one"]}).encode()


def guard(registry, path, challenge, accepts):
    """Let `path` answer only to the header `accepts()`."""

    def answer(asked):
        if asked.headers.get("authorization") == accepts():
            return Answer(200, TAGS)
        return Answer(401, headers={"WWW-Authenticate": challenge})

    registry.on("GET", path, answer)


def bearer(server, scope="repository:a/b:pull"):
    return f'Bearer realm="{server.url}/token",service="reg.test",scope="{scope}"'


def tokens(server, *documents, method="GET"):
    server.on(method, "/token", *[Answer(200, json.dumps(document).encode()) for document in documents])


def assert_no_secret(error):
    text = "".join(traceback.format_exception(error)) + repr(error)
    assert "s3cret-word" not in text
    assert BASIC.partition(" ")[2] not in text


def test_basic_is_sent_once_it_is_asked_for(registry, logged_in):
    guard(registry, "/v2/a/b/tags/list", 'Basic realm="x"', lambda: BASIC)
    assert logged_in.tags(registry.host, "a/b") == ["one"]
    assert logged_in.tags(registry.host, "a/b") == ["one"]
    sent = [asked.headers.get("authorization") for asked in registry.asked]
    assert sent == [None, BASIC, BASIC]


def test_without_a_login_it_says_to_log_in(registry, client):
    guard(registry, "/v2/a/b/tags/list", 'Basic realm="x"', lambda: BASIC)
    with pytest.raises(PermissionDeniedError, match="log in first"):
        client.tags(registry.host, "a/b")


def test_a_refused_login_is_not_repeated(registry, logged_in):
    guard(registry, "/v2/a/b/tags/list", 'Basic realm="x"', lambda: "another")
    with pytest.raises(PermissionDeniedError) as caught:
        logged_in.tags(registry.host, "a/b")
    with pytest.raises(PermissionDeniedError, match="refuses the login"):
        logged_in.tags(registry.host, "a/b")
    assert len(registry.asked) == 3
    assert_no_secret(caught.value)


def test_a_401_without_a_known_scheme(registry, logged_in):
    guard(registry, "/v2/a/b/tags/list", "Negotiate", lambda: BASIC)
    with pytest.raises(PermissionDeniedError, match="no login that is understood"):
        logged_in.tags(registry.host, "a/b")


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_is_fetched_with_basic_and_kept(registry, other, logged_in, name):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer t1")
    tokens(other, {name: "t1", "expires_in": 300})
    for _ in range(3):
        assert logged_in.tags(registry.host, "a/b") == ["one"]
    [asked] = other.asked
    assert asked.headers["authorization"] == BASIC
    assert parse_qs(urlsplit(asked.path).query) == {"service": ["reg.test"], "scope": ["repository:a/b:pull"]}
    assert len(registry.asked) == 4
    assert all("Basic" not in asked.headers.get("authorization", "") for asked in registry.asked)


def test_a_token_is_fetched_anonymously_without_a_login(registry, other, client):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer t1")
    tokens(other, {"token": "t1"})
    assert client.tags(registry.host, "a/b") == ["one"]
    assert "authorization" not in other.asked[0].headers


def test_an_identity_token_is_changed_by_post(registry, other, make_client):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer t1")
    tokens(other, {"access_token": "t1", "scope": "repository:a/b:pull"}, method="POST")
    client = make_client(GivenLogin(registry.host, Login("anna", identity_token="identity-1")))
    assert client.tags(registry.host, "a/b") == ["one"]
    assert {name: value for name, [value] in parse_qs(other.asked[0].body.decode()).items()} == {
        "grant_type": "refresh_token",
        "service": "reg.test",
        "client_id": "actord",
        "scope": "repository:a/b:pull",
        "refresh_token": "identity-1",
    }
    assert all("identity-1" not in str(asked) for asked in registry.asked)


def test_another_repository_gets_a_token_of_its_own_without_a_401(registry, other, client):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer t1")
    guard(registry, "/v2/c/tags/list", bearer(other, "repository:c:pull"), lambda: "Bearer t2")
    tokens(other, {"token": "t1"}, {"token": "t2"})
    client.tags(registry.host, "a/b")
    client.tags(registry.host, "c")
    scopes = [parse_qs(urlsplit(asked.path).query)["scope"] for asked in other.asked]
    assert scopes == [["repository:a/b:pull"], ["repository:c:pull"]]
    assert len(registry.asked) == 3


def test_a_token_that_the_registry_no_longer_takes_is_replaced(registry, other, client):
    current = ["t1"]
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: f"Bearer {current[0]}")
    tokens(other, {"token": "t1"}, {"token": "t2"})
    client.tags(registry.host, "a/b")
    current[0] = "t2"
    assert client.tags(registry.host, "a/b") == ["one"]


def test_fewer_scopes_than_asked_end_in_permission_denied_not_in_a_loop(registry, other, logged_in):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer never")
    tokens(other, {"token": "weak", "scope": ""})
    with pytest.raises(PermissionDeniedError):
        logged_in.tags(registry.host, "a/b")
    assert len(registry.asked) == 2


def test_tokens_end_when_they_say_or_after_a_minute(registry, other, make_client):
    now = [1000.0]
    connections = Connections("actord-test")
    login = GivenLogin(registry.host, Login("anna", "s3cret-word"))
    authorizer = Authorizer(connections, login, lambda: now[0])
    endpoint = Endpoint(registry.host, "http", registry.host)
    tokens(other, {"token": "t1"}, {"token": "t2", "expires_in": 600}, {"token": "t3"})
    assert authorizer.respond(endpoint, ("x",), [bearer(other)], None) == "Bearer t1"
    now[0] += 50
    assert authorizer.header(endpoint, ("x",)) == "Bearer t1"
    now[0] += 10
    assert authorizer.header(endpoint, ("x",)) == "Bearer t2"
    now[0] += 500
    assert authorizer.header(endpoint, ("x",)) == "Bearer t2"
    now[0] += 100
    assert authorizer.header(endpoint, ("x",)) == "Bearer t3"
    connections.close()


@pytest.mark.parametrize(
    ("status", "kind"), [(401, PermissionDeniedError), (403, PermissionDeniedError), (503, UnavailableError)]
)
def test_a_token_server_that_refuses(registry, other, logged_in, status, kind):
    guard(registry, "/v2/a/b/tags/list", bearer(other), lambda: "Bearer t1")
    quoting = {"errors": [{"code": "DENIED", "message": f"you sent {BASIC} s3cret-word"}]}
    other.on("GET", "/token", Answer(status, json.dumps(quoting).encode(), {"Retry-After": "9"}))
    with pytest.raises(kind, match="token for registry") as caught:
        logged_in.tags(registry.host, "a/b")
    assert caught.value.retry_after == (9 if status == 503 else None)
    assert_no_secret(caught.value)


def test_a_token_server_that_redirects_away_gets_no_login_there(registry, other, logged_in):
    guard(registry, "/v2/a/b/tags/list", bearer(registry), lambda: "Bearer t1")
    registry.on("GET", "/token", Answer(302, headers={"Location": f"{other.url}/token"}))
    tokens(other, {"token": "t1"})
    assert logged_in.tags(registry.host, "a/b") == ["one"]
    assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize(
    "realm", ["ftp://a.test", "/token", "https://user:word@a.test/", "https://[x/", "http://*.a.test/"]
)
def test_a_malformed_realm_is_refused(registry, logged_in, realm):
    guard(registry, "/v2/a/b/tags/list", f'Bearer realm="{realm}"', lambda: "Bearer t1")
    with pytest.raises(BadContentError, match="malformed token server"):
        logged_in.tags(registry.host, "a/b")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"token": ""}', b'{"token": 5}', b'{"token": "a\\nX: y"}', b"[" * 60_000],
)
def test_answers_without_a_token(body):
    with pytest.raises(BadContentError, match="holds no token"):
        parse_token(body, "token")


@pytest.mark.parametrize(
    ("life", "seconds"),
    [
        (300, 300),
        (0, 60),
        (-5, 60),
        ("9", 60),
        (None, 60),
        (True, 60),
        (10**12, 86400),
        pytest.param(10**400, 86400, id="no float"),
    ],
)
def test_the_life_of_a_token(life, seconds):
    assert parse_token(json.dumps({"token": "t", "expires_in": life}).encode(), "token") == ("t", seconds)


def test_nothing_of_a_client_shows_a_secret(registry, logged_in):
    guard(registry, "/v2/a/b/tags/list", 'Basic realm="x"', lambda: BASIC)
    logged_in.tags(registry.host, "a/b")
    shown = repr(logged_in) + repr(logged_in.__dict__) + repr(logged_in._exchange._authorizer.__dict__)
    assert "s3cret-word" not in shown
    assert BASIC not in shown


def test_a_registry_that_quotes_the_login_is_not_quoted(registry, logged_in):
    def answer(asked):
        if "authorization" not in asked.headers:
            return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        body = {"errors": [{"code": "DENIED", "message": asked.headers["authorization"]}]}
        return Answer(403, json.dumps(body).encode())

    registry.on("GET", "/v2/a/b/tags/list", answer)
    with pytest.raises(PermissionDeniedError) as caught:
        logged_in.tags(registry.host, "a/b")
    assert_no_secret(caught.value)


def test_credentials_are_looked_up_for_the_mirror_not_for_what_it_mirrors(registry, tmp_path):
    (tmp_path / "reg.test").mkdir()
    (tmp_path / "reg.test" / "hosts.toml").write_text(f'server = "{registry.url}"')
    guard(registry, "/v2/a/b/tags/list", 'Basic realm="x"', lambda: BASIC)
    client = RegistryClient(
        Hosts([tmp_path]), GivenLogin("reg.test", Login("anna", "s3cret-word")), "actord-test"
    )
    with pytest.raises(PermissionDeniedError, match="log in first"):
        client.tags("reg.test", "a/b")
    assert all("authorization" not in asked.headers for asked in registry.asked)
    assert registry.asked[0].path.endswith("?ns=reg.test")
    client.close()
