"""Keeping logins where docker keeps them, so that its tools and ours share them: `login` and `logout`.

The file is written aside with mode 0600, made durable and renamed: whoever reads it sees the old one or the
new one, and a crash leaves one of them. What else is in it stays as it is. A credential helper that the file
names for the host gets the login instead.
"""

import base64
import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transport.registry.credentials import (
    IDENTITY_TOKEN_USER,
    Login,
    config_entry,
    keychain_key,
    read_config,
)
from transport.registry.endpoint import canonical_host
from transport.registry.errors import FailedPreconditionError
from transport.registry.keychain import Keychain


class LoginFile:
    """The docker config.json at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def store(self, host: str, login: Login) -> str:
        """Keep the login for `host`; returns where. Raises FailedPreconditionError."""
        key = keychain_key(canonical_host(host))
        with self._alone():
            config = read_config(self.path)
            keychain = self._keychain(config, host)
            if keychain is not None:
                secret = login.identity_token or login.password
                keychain.store(key, IDENTITY_TOKEN_USER if login.identity_token else login.username, secret)
                self._set_entry(config, host, key, {})  # docker marks so that the helper has one
                return keychain.program
            self._set_entry(config, host, key, _entry(login))
        return str(self.path)

    def erase(self, host: str) -> bool:
        """Forget the login for `host`; says whether there was one. Raises FailedPreconditionError."""
        with self._alone():
            config = read_config(self.path)
            keychain = self._keychain(config, host)
            if keychain is not None:
                keychain.erase(keychain_key(canonical_host(host)))
            known = config_entry(config.get("auths"), canonical_host(host)) is not None
            if known:
                self._set_entry(config, host, "", None)
        return known or keychain is not None

    def _keychain(self, config: dict[str, Any], host: str) -> Keychain | None:
        name = config_entry(config.get("credHelpers"), canonical_host(host)) or config.get("credsStore")
        return Keychain.named(name, self.path) if name else None

    def _set_entry(self, config: dict[str, Any], host: str, key: str, entry: dict[str, str] | None) -> None:
        auths = config.get("auths")
        auths = dict(auths) if isinstance(auths, dict) else {}
        wanted = canonical_host(host)
        for old in [name for name in auths if config_entry({name: True}, wanted)]:
            del auths[old]
        if entry is not None:
            auths[key] = entry
        self._write({**config, "auths": auths})

    def _write(self, config: dict[str, Any]) -> None:
        target = self.path.resolve()  # a link to it stays a link
        descriptor, name = tempfile.mkstemp(prefix=".config-", dir=target.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(config, file, indent="\t")
                file.flush()
                os.fsync(file.fileno())
            Path(name).rename(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise FailedPreconditionError(f"{self.path} cannot be written: {error.strerror}") from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two logins at once must not lose one another: the folder is locked."""
        folder = self.path.resolve().parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise FailedPreconditionError(f"{folder} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _entry(login: Login) -> dict[str, str]:
    auth = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
    if login.identity_token:
        return {"auth": auth, "identitytoken": login.identity_token}
    return {"auth": auth}
