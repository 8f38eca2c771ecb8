"""Long lists, asked for page by page: one message holds 16 MiB."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

Answered = Callable[[Any], None]


def everything(ask: Callable[[Any], Any], body: Any, key: str) -> list[Any]:
    """All of a list that is answered in pages; `body` asks for the first one. Raises what `ask` does."""
    found: list[Any] = []
    body = replace(body, page=True)
    while True:
        answer = ask(body)
        found += answer[key]
        if not answer.get("next"):  # the last; or whoever answers knows no pages
            return found
        body = replace(body, after=answer["next"])


def gather(ask: Callable[[Any, Answered], None], body: Any, key: str, then: Answered) -> None:
    """The same for an actor, which must not wait: `then` gets a list, or the exception that came instead."""
    found: list[Any] = []

    def heard(asked: Any, answer: Any) -> None:
        if isinstance(answer, Exception):
            then(answer)
            return
        found.extend(answer[key])
        if answer.get("next"):
            following(replace(asked, after=answer["next"]))
        else:
            then(found)

    def following(wish: Any) -> None:
        ask(wish, partial(heard, wish))

    following(replace(body, page=True))
