import json
import stat
import threading

import pytest

from transport.registry.credentials import DockerConfig, Login
from transport.registry.errors import FailedPreconditionError
from transport.registry.login_file import LoginFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "docker" / "config.json"


@pytest.mark.parametrize("login", [Login("anna", "s3cret:word"), Login(identity_token="t0ken")])
@pytest.mark.parametrize("host", ["reg.test:5000", "docker.io", "index.docker.io", "reg.test:443"])
def test_what_is_stored_is_found_and_what_is_erased_is_not(path, host, login):
    assert LoginFile(path).store(host, login) == str(path)
    found = DockerConfig(path).lookup(host)
    assert (found.password, found.identity_token) == (login.password, login.identity_token)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert LoginFile(path).erase(host)
    assert DockerConfig(path).lookup(host) is None
    assert not LoginFile(path).erase(host)


def test_the_rest_of_the_file_stays_and_no_copy_is_left(path):
    path.parent.mkdir()
    path.write_text(
        json.dumps({"auths": {"https://reg.test/v2/": {"auth": "old"}, "b": {}}, "proxies": {"a": 1}})
    )
    path.chmod(0o644)
    LoginFile(path).store("reg.test", Login("anna", "new"))
    document = json.loads(path.read_text())
    assert document["proxies"] == {"a": 1}
    assert document["auths"].keys() == {"reg.test", "b"}
    assert [entry.name for entry in path.parent.iterdir()] == ["config.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_file_is_neither_used_nor_replaced(path):
    path.parent.mkdir()
    path.write_text("{ s3cret")
    with pytest.raises(FailedPreconditionError, match="is not a docker config") as caught:
        LoginFile(path).store("reg.test", Login("anna", "new"))
    assert "s3cret" not in str(caught.value)
    assert path.read_text() == "{ s3cret"


def test_a_link_stays_a_link(path, tmp_path):
    path.parent.mkdir()
    (tmp_path / "real.json").write_text("{}")
    path.symlink_to(tmp_path / "real.json")
    LoginFile(path).store("reg.test", Login("anna", "new"))
    assert path.is_symlink()
    assert "reg.test" in (tmp_path / "real.json").read_text()


def test_logins_at_the_same_time_lose_nothing(path):
    threads = [
        threading.Thread(target=LoginFile(path).store, args=(f"h{number}.test", Login("a", "b")))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(path.read_text())["auths"]) == 20
