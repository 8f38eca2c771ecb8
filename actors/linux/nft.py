"""The packet filter, through nft(8): rules are loaded and listed as text."""

from actors.linux.run import run

PROGRAM = "nft"
_MOST_SAID = 2000  # characters of a complaint


class FilterError(Exception):
    """nft refused, or is not there; the text is its first complaint."""


class MissingError(FilterError):
    """nft is not there: no later attempt ends otherwise."""


def load(text: str) -> None:
    """Carry out a script: all of it, in one transaction, or nothing.

    Raises:
        FilterError: it was refused; nothing has changed.
    """
    _nft(("-f", "-"), text)


def everything() -> str:
    """All rules of this host, without counters. Raises FilterError."""
    return _nft(("-s", "list", "ruleset"))


def table(name: str) -> str:
    """How the kernel has the table `inet NAME`; empty when there is none.

    Raises:
        FilterError: nft failed for another reason.
    """
    try:
        return _nft(("-n", "-s", "list", "table", "inet", name))
    except FilterError as error:
        if "No such file" in str(error):
            return ""
        raise


def _nft(words: tuple[str, ...], text: str = "") -> str:
    try:
        ended = run((PROGRAM, *words), text)
    except FileNotFoundError as error:
        raise MissingError("nft is missing: apt-get install nftables") from error
    except TimeoutError as error:
        raise FilterError(str(error)) from error
    if ended.code:
        said = ended.complaint.strip()[:_MOST_SAID]
        raise FilterError(f"nft: {said or f'ended with {ended.code}'}")
    return ended.said
