"""Documents that Hypothesis writes: good ones but for one to three entries, and the smallest of those that fail."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 64),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["..", "/", "auto", "train", "1e3", "segkit:load", "os:system", "1/3", "9" * 40]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.text(max_size=8) | st.integers(-1, 3) | st.booleans() | st.none()


@st.composite
def changed(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """The document with one to three changes: a value replaced, taken away, put elsewhere, or a new key beside it."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        places = list(entries(document))
        if not places:
            break
        of, key = draw(st.sampled_from(places))
        way = draw(st.sampled_from(["alike", "alike", "replace", "take", "swap", "add"]))
        if way == "alike":
            of[key] = draw(alike(of[key]))
        elif way == "replace":
            of[key] = draw(VALUES)
        elif way == "take":
            del of[key]
        elif way == "swap":
            other, there = draw(st.sampled_from(places))
            of[key] = copy.deepcopy(other[there])
        elif isinstance(of, dict):
            of[draw(KEYS)] = draw(VALUES)
        else:
            of.insert(key, draw(VALUES))
    return document


def alike(value: Any) -> st.SearchStrategy[Any]:
    """Other values of its kind, which get further than what is refused for its kind."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers(min(0, 2 * value), max(2, 2 * value + 2))
    if isinstance(value, float):
        return st.floats(min(0.0, 2 * value), max(1.0, 2 * value))
    if isinstance(value, str):
        return st.sampled_from([value * 2, value[: len(value) // 2], value.upper(), f"{value} ", f"{value}/.."])
    if isinstance(value, list) and value:
        return st.lists(st.sampled_from(value), max_size=len(value) + 1)
    return VALUES


def entries(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping or list of a document with each of its keys or places."""
    inner = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
    for key, value in inner:
        yield node, key
        yield from entries(value)


def try_documents(good: dict[str, Any], act: Callable[[dict[str, Any]], None], count: int, number: int) -> None:
    """Show ``act`` as many changed documents; what it raises comes out for the smallest document that raises it."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(changed(good))
    def one(document: dict[str, Any]) -> None:
        act(document)

    one()
