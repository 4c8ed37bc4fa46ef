"""The framework's own frozen dataclasses are dataclasses in all that can be seen of them."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from agentserver import AgentHostOptions
from agentserver._record import record


@record(frozen=True)
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list[str])
    secret: str = dataclasses.field(default="s", repr=False)


@dataclasses.dataclass(frozen=True)
class Plain:
    """The same, as the standard library makes it."""

    x: int
    y: int = 0
    tags: list[str] = dataclasses.field(default_factory=list[str])
    secret: str = dataclasses.field(default="s", repr=False)


@record(frozen=True, kw_only=True, eq=False, repr=False)
class Named:
    """A record whose arguments have names, and which is equal to itself only."""

    x: int
    ends: int | None = None

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is less than 0")


Make = Callable[..., Any]
BOTH = pytest.mark.parametrize("make", [Point, Plain])


@BOTH
def test_arguments_go_by_place_and_by_name(make: Make) -> None:
    assert dataclasses.astuple(make(1)) == (1, 0, [], "s")
    assert dataclasses.astuple(make(1, 2, tags=["a"])) == (1, 2, ["a"], "s")
    assert make(1).tags is not make(1).tags


@BOTH
@pytest.mark.parametrize(
    ("positional", "named"),
    [((), {}), ((), {"y": 1}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((1, 2, (), "s", 5), {})],
)
def test_arguments_that_do_not_fit_are_a_type_error(
    make: Make, positional: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=make.__name__):
        make(*positional, **named)


def test_a_type_error_says_which_arguments_do_not_fit() -> None:
    make: Any = Named
    with pytest.raises(TypeError, match=r"Named\(\) lacks x"):
        make()
    with pytest.raises(TypeError, match=r"Named\(\) does not take y, z"):
        make(x=1, z=1, y=1)
    with pytest.raises(TypeError, match=r"Named\(\) takes 0 positional arguments"):
        make(1)


@BOTH
def test_a_record_is_equal_to_its_like_and_shows_what_is_no_secret(make: Make) -> None:
    assert make(1, 2) == make(1, 2)
    assert make(1, 2) != make(1, 3)
    assert make(1, 2) != (1, 2)
    assert repr(make(1, 2)) == f"{make.__name__}(x=1, y=2, tags=[])"


def test_what_cannot_change_has_a_hash() -> None:
    assert hash(AgentHostOptions(port=1)) == hash(AgentHostOptions(port=1))
    assert len({AgentHostOptions(port=1), AgentHostOptions(port=1), AgentHostOptions(port=2)}) == 2


@BOTH
def test_nothing_can_be_set_or_deleted(make: Make) -> None:
    point = make(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


@BOTH
def test_it_can_be_copied_pickled_replaced_and_matched(make: Make) -> None:
    point = make(1, 2, ["a"])
    assert copy.deepcopy(point) == point
    assert pickle.loads(pickle.dumps(point)) == point  # noqa: S301 - its own bytes
    assert dataclasses.replace(point, y=3).y == 3
    match point:
        case Point(x, y) | Plain(x, y):
            assert (x, y) == (1, 2)
        case _:
            pytest.fail("it does not match")


@BOTH
def test_its_signature_is_there_for_whoever_looks(make: Make) -> None:
    parameters = inspect.signature(make).parameters
    assert list(parameters) == ["x", "y", "tags", "secret"]
    assert parameters["x"].default is inspect.Parameter.empty
    assert parameters["y"].default == 0
    assert parameters["tags"].default is not inspect.Parameter.empty


def test_a_record_of_named_arguments_checks_itself_and_is_equal_to_itself_only() -> None:
    with pytest.raises(ValueError, match="less than 0"):
        Named(x=-1)
    one = Named(x=1)
    assert one == one  # noqa: PLR0124 - that is what is tested
    assert one != Named(x=1)
    (only,) = {one, one}
    assert only.ends is None
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(Named).parameters.values())
