"""What can be wrong with a container before and while an OCI runtime makes it."""

CANNOT_START = 125  # the exit code for a failure that is not the program's


class ContainerError(Exception):
    """Base of both; `code` is the wire's name for the kind."""

    code = "internal"


class InvalidSpecError(ContainerError):
    """What the caller or the image asks for is malformed, unknown, or must not be done."""

    code = "invalid_argument"


class RuntimeCommandError(ContainerError):
    """A command of the OCI runtime failed.

    `code` is the wire's kind. `exit_code` is what a shell would give for a program that could not be
    started (126, 127), otherwise None. The text is the runtime's own, because clients match on it.
    """

    def __init__(self, text: str, code: str = "internal", exit_code: int | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.exit_code = exit_code
