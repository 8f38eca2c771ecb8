from __future__ import annotations

from collections.abc import Iterator

import pytest

from actors.actor import Actor
from actors.messages import ANY, OPERATIONS, owned_by
from actors.tree import PROGRAMS, TREE
from transport.switch import HOME


def _descendants(base: type[Actor]) -> Iterator[type[Actor]]:
    """Bases before what is made of them."""
    for one in base.__subclasses__():
        yield one
        yield from _descendants(one)


def _classes() -> dict[str, type[Actor]]:
    known = [one for one in _descendants(Actor) if one.__module__.startswith("actors.")]
    return {one.kind: one for one in known if hasattr(one, "kind")}


@pytest.mark.parametrize("kind", sorted(_classes()))
def test_each_actor_has_a_method_for_each_operation_it_owns(kind):
    missing = [name for name in owned_by(kind) if not hasattr(_classes()[kind], name.replace(".", "_"))]
    assert missing == []


def test_each_actor_has_a_method_for_each_operation_that_any_accepts():
    assert [name for name in owned_by(ANY) if not hasattr(Actor, name.replace(".", "_"))] == []


def test_each_operation_has_an_owner_that_exists():
    assert {one.owner for one in OPERATIONS.values()} <= _classes().keys() | {"any", "router"}


def test_each_child_of_the_tree_has_a_program():
    workers = [child for child in TREE.children if child.type == "worker"]
    dynamic = [child.children[0] for child in TREE.children if child.type == "supervisor"]
    assert {child.kind for child in (*workers, *dynamic)} | {"supervisor"} == PROGRAMS.keys()


def test_names_with_a_slash_are_this_hosts_for_every_dynamic_kind():
    assert {child.children[0].kind for child in TREE.children if child.type == "supervisor"} == HOME
