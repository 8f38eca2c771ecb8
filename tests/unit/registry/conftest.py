"""A scripted registry and a client for it."""

import pytest

from tests.certificates import make_certificates
from tests.scripted_registry import ScriptedRegistry
from transport.registry.client import RegistryClient
from transport.registry.connections import Connections
from transport.registry.credentials import GivenLogin, Login, NoCredentials
from transport.registry.hosts import Hosts


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def registry():
    with ScriptedRegistry() as scripted:
        yield scripted


@pytest.fixture
def other():
    with ScriptedRegistry("127.0.0.2") as scripted:
        yield scripted


@pytest.fixture
def make_client():
    """Clients by their settings; all are closed at the end."""
    made = []

    def make(credentials=None, *, directories=(), read_timeout=20.0, **hosts):
        connections = Connections("actord-test", read_timeout=read_timeout)
        client = RegistryClient(
            Hosts(directories, **hosts),
            credentials or NoCredentials(),
            "actord-test",
            connections=connections,
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def logged_in(make_client, registry):
    return make_client(GivenLogin(registry.host, Login("anna", "s3cret-word")))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))
