"""Docker's credential helpers: programs that keep logins somewhere safer than a file.

`docker-credential-NAME ACTION` reads from its input and writes to its output, so nothing secret is ever an
argument (docker-credential-helpers, "Development").
"""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from transport.registry.errors import FailedPreconditionError

SECONDS = 30.0  # that one may take: it may have to ask a person

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ABSENT = b"credentials not found"


@dataclass(frozen=True, slots=True)
class Keychain:
    """One such program."""

    program: str
    seconds: float = SECONDS

    @classmethod
    def named(cls, name: object, config: Path, seconds: float = SECONDS) -> Self:
        """The one that the file `config` names. Raises FailedPreconditionError."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise FailedPreconditionError(f"{config} names a malformed credential helper; correct it")
        return cls(f"docker-credential-{name}", seconds)

    def get(self, key: str) -> tuple[str, str] | None:
        """User name and secret kept under `key`; None when there are none. Raises FailedPreconditionError."""
        answer = self._do("get", key, key)
        if answer is None:
            return None
        try:
            document = json.loads(answer)
            return str(document["Username"]), str(document["Secret"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise FailedPreconditionError(
                f"{self.program} did not answer with a credential for {key}"
            ) from None

    def store(self, key: str, username: str, secret: str) -> None:
        """Keep a login under `key`, in place of what was there. Raises FailedPreconditionError."""
        self._do("store", key, json.dumps({"ServerURL": key, "Username": username, "Secret": secret}))

    def erase(self, key: str) -> None:
        """Forget what is kept under `key`; nothing is no error. Raises FailedPreconditionError."""
        self._do("erase", key, key)

    def _do(self, action: str, key: str, text: str) -> bytes | None:
        status, answer = _run([self.program, action], text, self.seconds)
        if status == 0:
            return answer
        if _ABSENT in answer:
            return None
        raise FailedPreconditionError(
            f"{self.program} failed for {key} with status {status}; run it by hand to see why"
        )


def _run(command: list[str], text: str, seconds: float) -> tuple[int, bytes]:
    """Exit status and output; the program and whatever it started are ended at the time limit."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise FailedPreconditionError(
            f"{command[0]} cannot be run: {error.strerror}; install it or take it out of config.json"
        ) from None
    with process:
        try:
            answer, _ = process.communicate(text.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            raise FailedPreconditionError(f"{command[0]} did not answer within {seconds:g} s") from None
        finally:
            _end_group(process)
    return process.returncode, answer


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program's process group, unless it is reaped and its number may be another's."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
