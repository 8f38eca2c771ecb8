"""Long lists, asked for page by page: one message holds 16 MiB."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any


def everything(ask: Callable[[Any], Any], body: Any, key: str) -> list[Any]:
    """All of a list that is answered in pages; `body` asks for the first one. Raises what `ask` does."""
    found: list[Any] = []
    body = replace(body, page=True)
    while True:
        answer = ask(body)
        found += answer[key]
        if not answer["next"]:
            return found
        body = replace(body, after=answer["next"])
