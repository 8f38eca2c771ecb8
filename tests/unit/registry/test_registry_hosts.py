import pytest

from transport.registry.endpoint import Tls, canonical_host, repository_path
from transport.registry.errors import FailedPreconditionError, InvalidArgumentError
from transport.registry.hosts import Hosts


def write(directory, name, text):
    (directory / name).mkdir(parents=True)
    (directory / name / "hosts.toml").write_text(text)


def bases(hosts, host, capability="pull"):
    return [endpoint.base for endpoint in hosts.serving(host, capability)]


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),
        ("index.docker.io", "https://registry-1.docker.io/v2"),
        ("quay.io", "https://quay.io/v2"),
        ("localhost", "http://localhost/v2"),
        ("localhost:5000", "http://localhost:5000/v2"),
        ("localhost:443", "https://localhost:443/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),
        ("127.9.8.7", "http://127.9.8.7/v2"),
        ("127.0.0.1:443", "https://127.0.0.1:443/v2"),
        ("[::1]:5000", "http://[::1]:5000/v2"),
        ("[::2]:5000", "https://[::2]:5000/v2"),
        ("localhost.example.org", "https://localhost.example.org/v2"),
        ("10.0.0.1:80", "https://10.0.0.1:80/v2"),
    ],
)
def test_without_settings_a_host_serves_itself(host, base):
    assert bases(Hosts(), host) == [base]
    assert not Hosts().serving(host, "push")[0].is_mirror


@pytest.mark.parametrize(
    "host", ["", "a/b", "../etc", "a b", "host:99999", "user@host", "http://host", "a\n", "-x", "host:"]
)
def test_malformed_hosts_are_refused(host):
    with pytest.raises(InvalidArgumentError):
        Hosts().serving(host, "pull")


def test_exceptions_by_host():
    hosts = Hosts(plain_http={"reg.test:5000"}, skip_verify={"self.test"})
    assert bases(hosts, "reg.test:5000") == ["http://reg.test:5000/v2"]
    assert bases(hosts, "reg.test") == ["https://reg.test/v2"]
    assert hosts.serving("self.test", "pull")[0].tls.skip_verify
    assert not hosts.serving("reg.test", "pull")[0].tls.skip_verify


def test_the_directory_for_the_port_wins_over_the_plain_one_and_the_default(tmp_path):
    for name in ("_default", "reg.test:5000", "reg.test_5000_"):
        write(
            tmp_path, name, f'server = "https://{name.strip("_").replace(":", "-").replace("_", "-")}.test"'
        )
    hosts = Hosts([tmp_path])
    assert bases(hosts, "reg.test:5000") == ["https://reg.test-5000.test/v2"]
    assert bases(hosts, "elsewhere.test") == ["https://default.test/v2"]
    (tmp_path / "reg.test_5000_" / "hosts.toml").unlink()
    assert bases(hosts, "reg.test:5000") == ["https://reg.test-5000.test/v2"]
    (tmp_path / "reg.test:5000" / "hosts.toml").unlink()
    assert bases(hosts, "reg.test:5000") == ["https://default.test/v2"]


def test_an_earlier_directory_wins(tmp_path):
    write(tmp_path / "one", "_default", 'server = "https://one.test"')
    write(tmp_path / "two", "reg.test", 'server = "https://two.test"')
    assert bases(Hosts([tmp_path / "one", tmp_path / "two"]), "reg.test") == ["https://one.test/v2"]


MIRRORS = """
server = "https://registry-1.docker.io"

[host."https://z.test:5000"]
  capabilities = ["pull", "resolve"]
  ca = "ca.pem"
  client = [["client.pem", "client.key"], ["both.pem", ""]]
  dial_timeout = "1.5s"
  [host."https://z.test:5000".header]
    X-Team = "a"
    X-Many = ["b", "c"]

[host."http://a.test/hub/v2"]
  capabilities = ["pull"]
  override_path = true
  ca = ["/etc/one.pem", "two.pem"]

[host."b.test"]
  skip_verify = true
  client = "/etc/client.pem"
"""


def test_mirrors_come_in_order_with_their_settings(tmp_path):
    write(tmp_path, "docker.io", MIRRORS)
    z, a, b, server = Hosts([tmp_path]).serving("docker.io", "pull")
    folder = tmp_path / "docker.io"
    assert [endpoint.base for endpoint in (z, a, b, server)] == [
        "https://z.test:5000/v2",
        "http://a.test/hub/v2",
        "https://b.test/v2",
        "https://registry-1.docker.io/v2",
    ]
    assert z.tls == Tls(
        (f"{folder}/ca.pem",),
        ((f"{folder}/client.pem", f"{folder}/client.key"), (f"{folder}/both.pem", None)),
    )
    assert z.headers == (("X-Team", "a"), ("X-Many", "b"), ("X-Many", "c"))
    assert z.dial_timeout == 1.5
    assert a.tls.ca == ("/etc/one.pem", f"{folder}/two.pem")
    assert b.tls == Tls(client=(("/etc/client.pem", None),), skip_verify=True)
    assert [endpoint.is_mirror for endpoint in (z, a, b, server)] == [True, True, True, False]


def test_capabilities_decide_who_is_asked(tmp_path):
    write(tmp_path, "docker.io", MIRRORS)
    hosts = Hosts([tmp_path])
    assert bases(hosts, "docker.io", "resolve") == [
        "https://z.test:5000/v2",
        "https://b.test/v2",
        "https://registry-1.docker.io/v2",
    ]
    assert bases(hosts, "docker.io", "push") == ["https://b.test/v2", "https://registry-1.docker.io/v2"]


def test_without_a_server_the_registry_itself_comes_last(tmp_path):
    write(tmp_path, "127.0.0.1_5000_", '[host."http://127.0.0.1:6000"]\ncapabilities = ["pull"]\n')
    found = bases(Hosts([tmp_path]), "127.0.0.1:5000")
    assert found == ["http://127.0.0.1:6000/v2", "http://127.0.0.1:5000/v2"]


def test_the_server_has_settings_too(tmp_path):
    write(tmp_path, "reg.test", 'capabilities = ["pull"]\nca = "ca.pem"\n')
    [endpoint] = Hosts([tmp_path]).serving("reg.test", "pull")
    assert endpoint.tls.ca == (f"{tmp_path}/reg.test/ca.pem",)
    assert Hosts([tmp_path]).serving("reg.test", "push") == ()


@pytest.mark.parametrize(
    "text",
    [
        "server = ",
        "server = 5",
        'capabilities = ["delete"]',
        'dial_timeout = "soon"',
        'dial_timeout = ""',
        "client = 5",
        'client = [["a", "b", "c"]]',
        "skip_verify = 1",
        "host = 1",
        'ca = {a = "b"}',
        'server = "ftp://a.test"',
        'server = "https://user:word@a.test"',
        'server = "https://a.test/?q=1"',
        '[header]\n"X Y" = "z"',
        '[header]\nX = "a\\nb"',
        '[host."https://a b"]',
    ],
)
def test_a_wrong_file_is_named_and_refused(tmp_path, text):
    write(tmp_path, "reg.test", text)
    with pytest.raises(FailedPreconditionError, match=r"hosts\.toml cannot be used") as caught:
        Hosts([tmp_path]).serving("reg.test", "pull")
    assert "word" not in str(caught.value)


def test_a_huge_file_is_refused(tmp_path):
    write(tmp_path, "reg.test", "#" * (1 << 20) + "\n")
    with pytest.raises(FailedPreconditionError, match="larger"):
        Hosts([tmp_path]).serving("reg.test", "pull")


def test_headers_do_not_show(tmp_path):
    write(tmp_path, "reg.test", '[header]\nAuthorization = "Basic c2VjcmV0"')
    assert "c2VjcmV0" not in repr(Hosts([tmp_path]).serving("reg.test", "pull"))


def test_names_of_docker_hub():
    assert canonical_host("registry-1.docker.io") == canonical_host("index.docker.io") == "docker.io"
    assert canonical_host("Quay.io:443") == "quay.io"
    assert repository_path("docker.io", "busybox") == "library/busybox"
    assert repository_path("docker.io", "a/b") == "a/b"
    assert repository_path("quay.io", "busybox") == "busybox"
