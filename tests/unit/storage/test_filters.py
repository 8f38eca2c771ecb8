"""containerd's filters: what they let pass, what is refused, and that nothing makes them hang or crash."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.filters import parse_filters

THING = {
    ("name",): "docker.io/library/x:latest",
    ("size",): "10",
    ("labels", "a.b/c"): "v,w",
    ("labels", "plain"): "yes",
    ("empty",): "",
    ("equation",): "a=b!c~d|e",
}


def passes(*texts):
    return parse_filters(texts).match(lambda path: THING.get(tuple(path)))


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "name==docker.io/library/x:latest",
        "size==10,name",
        'labels."a.b/c"=="v,w"',
        'labels."a.b/c"==|v,w|',
        "labels.plain==yes",
        "name!=other",
        "nothing!=x",
        "name~=|^docker.io/|",
        "name~=x:.*t$",
        'name~="library/."',
        "name~=/library.x/",
        r"name~=/library\/x/,size==10",
        "name~=/library/ , size==10",
        "name~=library/x",
        "nothing~=^$",
        " name == docker.io/library/x:latest , size != 11 ",
        "size ~= ^1",
        "equation==a=b!c~d|e",
    ],
)
def test_passes(text):
    assert passes(text)
    assert passes("nothing", text), "one of a list is enough"


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "empty",
        "size==11",
        "name,nothing",
        "name!=docker.io/library/x:latest",
        "nothing~=x",
        "name~=^x",
    ],
)
def test_does_not_pass(text):
    assert not passes(text)
    assert not passes(f"name,{text}"), "all conditions of one filter must hold"


def test_no_filter_lets_everything_pass():
    assert passes()


@pytest.mark.parametrize(
    "text",
    [
        ",",
        "name,",
        "name==",
        "==x",
        "name==|x",
        'name=="x',
        "name=x",
        "a b",
        "name~=(",
        "labels.==x",
        "name==x y",
    ],
)
def test_malformed(text):
    with pytest.raises(InvalidArgumentError):
        parse_filters([text])


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "(a|aa)*b", "(x){9}{9}", "a*b*c*d*", "a" * 257, "(?:a*){2,}",
        "a?" * 40 + "a" * 40, "(aa|a)" * 30 + "b", r"\\\\*" * 20 + "b",
        "(?x)(a*) *b", "(a*)(?#c)*b", "a*?a+?a??a{1,}?",
    ],
)  # fmt: skip
def test_an_expression_that_could_take_for_ever(pattern):
    with pytest.raises(InvalidArgumentError, match=r"too long|longer"):
        parse_filters([f'name~="{pattern}"'])


@pytest.mark.parametrize(
    "pattern", [r"\*\?\+\*[*+?{]{3}", "^[]*+?]x?$", "(?:ab)?(?i:c)", "a{2}b{3}", "^(web-.*)?$"]
)
def test_signs_that_repeat_nothing(pattern):
    assert not parse_filters([f"name~=|{pattern}|"]).match(lambda _: "-")


def test_what_all_expressions_do_is_bounded():
    """Each may be harmless, and a list of ten thousand things long."""
    dear, cheap = parse_filters(["name~=|a*a*a*b|"]), parse_filters(["name~=|^a*b|"])
    with pytest.raises(InvalidArgumentError, match="take too long"):
        [dear.match(lambda _: "a" * 71) for _ in range(10_000)]
    with pytest.raises(InvalidArgumentError, match="take too long"):
        dear.match(lambda _: "a" * 1024)
    assert not any(cheap.match(lambda _: "a" * 71) for _ in range(50_000))


def test_who_follows_for_days_looks_at_any_number_of_things():
    text = "topic~=|a*a*a*b|"
    now = iter(range(10**6))
    following, at_once = parse_filters([text], lambda: float(next(now))), parse_filters([text], lambda: 0.0)
    assert not any(following.match(lambda _: "c" * 71) for _ in range(5_000)), "one a second"
    with pytest.raises(InvalidArgumentError, match="take too long"):
        [at_once.match(lambda _: "c" * 71) for _ in range(5_000)]


def test_bounds():
    with pytest.raises(InvalidArgumentError, match="too many"):
        parse_filters(["name"] * 65)
    with pytest.raises(InvalidArgumentError, match="longer than 4096"):
        parse_filters(["x" * 4097])


@given(st.text(alphabet='ab.,="~!|\\ ()*+[]{}', max_size=40))
def test_anything_is_parsed_or_refused(text):
    try:
        found = parse_filters([text])
    except InvalidArgumentError:
        return
    found.match(lambda _: "a" * 2000)


def test_an_empty_filter_lets_everything_pass():
    """ctr lists with one when it means no filter at all."""
    assert parse_filters([""]).match(lambda _: None)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        ([""], None),
        (["id==a"], ["a"]),
        (["id==b", "id==a,name", "id==a"], ["a", "b"]),
        (["id==a", "name==b"], None),
        (["id~=a"], None),
        (["id!=a"], None),
        (["x.id==a"], None),
    ],
    ids=str,
)
def test_what_a_field_has_to_be(texts, found):
    assert parse_filters(texts).values("id") == found
