"""Redirects, TLS, proxies: who gets to see what."""

import ssl
import traceback

import pytest

from tests.scripted_registry import Answer, ScriptedRegistry, digest_of
from transport.registry.connections import origin, redirect_target
from transport.registry.credentials import GivenLogin, Login
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    NotReachableError,
    PermissionDeniedError,
    UnavailableError,
)

BODY = b"content" * 1000
DIGEST = digest_of(BODY)
PATH = f"/v2/a/b/blobs/{DIGEST}"


def fetch(client, host, offset=0):
    return b"".join(client.fetch_blob(host, "a/b", DIGEST, len(BODY), offset))


def guarded(answer):
    """Asks for Basic first."""

    def respond(asked):
        if "authorization" in asked.headers:
            return answer
        return Answer(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    return respond


def to(location, status=307):
    return Answer(status, b"<html>moved</html>", {"Location": location})


@pytest.fixture
def tls_registry(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    with ScriptedRegistry(tls=context) as scripted:
        yield scripted


@pytest.fixture
def trusting(make_client, certificates, tls_registry, tmp_path):
    """A client that trusts the test's CA."""

    def make(credentials=None, more=""):
        (tmp_path / "_default").mkdir()
        (tmp_path / "_default" / "hosts.toml").write_text(
            f'server = "{tls_registry.url}"\nca = "{certificates.ca}"\n{more}'
        )
        return make_client(credentials, directories=[tmp_path])

    return make


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_host_gets_no_credentials(registry, other, logged_in, status):
    registry.on("GET", PATH, guarded(to(f"{other.url}/cdn/x?signature=a%2Fb%7E", status)))
    other.on(
        "GET", "/cdn/x", Answer(206, BODY[5:], {"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"})
    )
    assert fetch(logged_in, registry.host, 5) == BODY[5:]
    [asked] = other.asked
    assert "authorization" not in asked.headers
    assert asked.headers["range"].startswith("bytes=5-")
    assert asked.path == "/cdn/x?signature=a%2Fb%7E"


def test_the_same_host_at_another_port_is_another_host(registry, logged_in):
    with ScriptedRegistry() as neighbour:
        registry.on("GET", PATH, guarded(to(f"{neighbour.url}/x")))
        neighbour.on("GET", "/x", Answer(200, BODY))
        assert fetch(logged_in, registry.host) == BODY
        assert "authorization" not in neighbour.asked[0].headers


def test_the_same_origin_keeps_them(registry, logged_in):
    registry.on("GET", PATH, guarded(to("/moved")))
    registry.on("GET", "/moved", Answer(200, BODY))
    assert fetch(logged_in, registry.host) == BODY
    assert "authorization" in registry.requests("GET", "/moved")[0].headers


def test_once_away_they_do_not_come_back(registry, other, logged_in):
    registry.on("GET", PATH, guarded(to(f"{other.url}/x")))
    other.on("GET", "/x", to(f"{registry.url}/back"))
    registry.on("GET", "/back", Answer(200, BODY))
    assert fetch(logged_in, registry.host) == BODY
    assert "authorization" not in registry.requests("GET", "/back")[0].headers


def test_a_stranger_that_asks_for_a_login_gets_none(registry, other, logged_in):
    registry.on("GET", PATH, guarded(to(f"{other.url}/x")))
    other.on("GET", "/x", Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{other.url}/token"'}))
    with pytest.raises(PermissionDeniedError):
        fetch(logged_in, registry.host)
    assert len(other.asked) == 1


def test_configured_headers_stay_with_their_host(registry, other, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(
        f'server = "{registry.url}"\n[header]\nX-Secret = "s3cret-word"'
    )
    registry.on("GET", PATH, to(f"{other.url}/x"))
    other.on("GET", "/x", Answer(200, BODY))
    assert fetch(make_client(directories=[tmp_path]), registry.host) == BODY
    assert registry.asked[0].headers["x-secret"] == "s3cret-word"
    assert "x-secret" not in other.asked[0].headers


def test_ten_redirects_are_followed_and_no_more(registry, client):
    for number in range(10):
        registry.on("GET", f"/r{number}", to(f"/r{number + 1}"))
    registry.on("GET", PATH, to("/r1"))
    registry.on("GET", "/r10", Answer(200, BODY))
    assert fetch(client, registry.host) == BODY
    registry.on("GET", PATH, to("/r0"))
    with pytest.raises(BadContentError, match="more than 10 times"):
        fetch(client, registry.host)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://a.test/x",
        "file:///etc/passwd",
        "http://anna:word@a.test/",
        "http://[x",
        "http://[v1.x]/",
        "http://*.a.test/",
        "http://.a.test/",
        "http://a b.test/",
        "http://a\x7f.test/",
    ],
)
def test_unusable_addresses_are_refused(registry, client, location):
    registry.on("GET", PATH, to(location))
    with pytest.raises(BadContentError, match="without a usable address") as caught:
        fetch(client, registry.host)
    assert "word" not in str(caught.value)


def test_a_signed_address_does_not_show_in_errors(registry, client):
    registry.on("GET", PATH, to("http://127.0.0.9:9/x?signature=s3cret-word"))
    with pytest.raises(NotReachableError) as caught:
        fetch(client, registry.host)
    assert "s3cret-word" not in "".join(traceback.format_exception(caught.value))


def test_the_body_of_a_redirect_is_not_read(registry, client):
    registry.on("GET", PATH, Answer(302, b"x" * 65536, {"Location": "/moved"}, endless=True))
    registry.on("GET", "/moved", Answer(200, BODY))
    assert fetch(client, registry.host) == BODY


def test_netrc_and_cookies_play_no_part(registry, client, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    registry.on("GET", PATH, Answer(200, BODY, {"Set-Cookie": "a=b; Path=/"}))
    fetch(client, registry.host)
    fetch(client, registry.host)
    assert all("authorization" not in asked.headers for asked in registry.asked)
    assert all("cookie" not in asked.headers for asked in registry.asked)


def test_https_with_a_configured_ca(tls_registry, trusting):
    tls_registry.add_blob("a/b", BODY)
    assert fetch(trusting(), "reg.test") == BODY


def test_https_never_becomes_http(tls_registry, registry, trusting):
    tls_registry.on("GET", PATH, to(f"{registry.url}/x"))
    with pytest.raises(BadContentError, match="from https to http"):
        fetch(trusting(), "reg.test")
    assert not registry.asked


def test_an_https_registry_cannot_name_a_plain_token_server(tls_registry, registry, trusting):
    tls_registry.on(
        "GET", PATH, Answer(401, headers={"WWW-Authenticate": f'Bearer realm="{registry.url}/token"'})
    )
    client = trusting(GivenLogin(tls_registry.host, Login("anna", "word")))
    with pytest.raises(BadContentError, match="without TLS"):
        fetch(client, "reg.test")
    assert not registry.asked


def test_an_unknown_ca_is_refused_with_a_reason(tls_registry, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(f'server = "{tls_registry.url}"')
    with pytest.raises(FailedPreconditionError, match=r"is not trusted: .*certificate"):
        fetch(make_client(directories=[tmp_path]), "reg.test")


def test_skip_verify_trusts_anybody(tls_registry, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(f'server = "{tls_registry.url}"\nskip_verify = true')
    tls_registry.add_blob("a/b", BODY)
    assert fetch(make_client(directories=[tmp_path]), "reg.test") == BODY


def test_plain_http_where_tls_is_expected(registry, make_client, tmp_path):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(f'server = "https://{registry.host}"')
    with pytest.raises(FailedPreconditionError, match="answers without TLS"):
        fetch(make_client(directories=[tmp_path]), "reg.test")


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_a_ca_that_cannot_be_read_is_named(make_client, tmp_path, text):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text('server = "https://127.0.0.1:1"\nca = "own.pem"')
    if text:
        (tmp_path / "_default" / "own.pem").write_text(text)
    with pytest.raises(FailedPreconditionError, match=r"own\.pem cannot be used"):
        fetch(make_client(directories=[tmp_path]), "reg.test")


@pytest.fixture
def wants_certificate(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.load_verify_locations(certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with ScriptedRegistry("127.0.0.1", context) as scripted:
        yield scripted


def client_certificate(certificates):
    return f'client = [["{certificates.certificate}", "{certificates.key}"]]\nca = "{certificates.ca}"\n'


def test_a_client_certificate_is_shown_to_its_own_endpoint(
    wants_certificate, certificates, make_client, tmp_path
):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(
        f'server = "{wants_certificate.url}"\n{client_certificate(certificates)}'
    )
    wants_certificate.add_blob("a/b", BODY)
    assert fetch(make_client(directories=[tmp_path]), "reg.test") == BODY


def test_a_client_certificate_is_not_shown_to_strangers(
    tls_registry, wants_certificate, certificates, make_client, tmp_path
):
    (tmp_path / "_default").mkdir()
    (tmp_path / "_default" / "hosts.toml").write_text(
        f'server = "{tls_registry.url}"\n{client_certificate(certificates)}'
    )
    tls_registry.on("GET", PATH, to(f"{wants_certificate.url}/x"))
    wants_certificate.on("GET", "/x", Answer(200, BODY))
    with pytest.raises((FailedPreconditionError, UnavailableError)):
        fetch(make_client(directories=[tmp_path]), "reg.test")
    assert not wants_certificate.asked


def test_the_proxy_of_the_environment_is_used_but_not_for_loopback(registry, make_client, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://anna:word@{registry.host}")
    registry.on("GET", f"http://reg.test{PATH}", Answer(200, BODY))
    registry.on("GET", PATH, Answer(200, BODY))
    client = make_client(plain_http={"reg.test", "other.test"})
    assert fetch(client, "reg.test") == BODY
    assert fetch(client, registry.host) == BODY
    through, direct = registry.asked
    assert through.headers["proxy-authorization"].startswith("Basic ")
    assert direct.path == PATH
    assert "proxy-authorization" not in direct.headers
    monkeypatch.setenv("no_proxy", "other.test")
    monkeypatch.setenv("http_proxy", "http://anna:s3cret-word@127.0.0.9:9")
    with pytest.raises(NotReachableError) as caught:
        fetch(client, "reg.test")
    assert "s3cret-word" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://a.test/v2/x?y=1", "/z", "http://a.test/z"),
        ("http://a.test/v2/x", "z?q=1", "http://a.test/v2/z?q=1"),
        ("http://a.test/v2/x", "//b.test/z", "http://b.test/z"),
        ("http://a.test/x", "https://a.test/x", "https://a.test/x"),
        ("https://a.test/x", "HTTPS://b.test/x", "HTTPS://b.test/x"),
    ],
)
def test_redirect_targets(url, location, target):
    if location.startswith("HTTPS"):
        target = location
    assert redirect_target(url, location).lower() == target.lower()


def test_origins():
    assert origin("http://A.test/x") == origin("http://a.test:80/y")
    assert origin("http://a.test") != origin("https://a.test")
    assert origin("http://a.test") != origin("http://a.test:81")
