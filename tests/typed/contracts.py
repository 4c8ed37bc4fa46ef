"""Twenty-five contracts as users may write them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import attrs
import pydantic
from aiohttp import web
from msgspec import Meta, Struct
from typing_extensions import TypedDict

from agentserver import InvocationContext, InvocationHandler
from tests.typed import kinds
from tests.typed.kinds import AsDataclass, Delta, Done

T = TypeVar("T")


@dataclass
class Tree:
    """A node, and below it others."""

    name: str
    children: list[Tree] = field(default_factory=list["Tree"])


@dataclass
class Chain:
    next: Chain | None


@dataclass
class Page(Generic[T]):
    items: Annotated[list[T], Meta(min_length=1)]
    total: int


@dataclass
class Reply:
    """Not the one of kinds.py: a class of the same name."""

    words: list[str]


class Cat(Struct, tag="cat"):
    """Purrs.

    A second paragraph,
        indented.
    """

    lives: Annotated[int, Meta(ge=1, le=9, description="How many are left.")]


class Dog(Struct, tag="dog", rename="camel"):
    good_boy: bool


@dataclass
class Walk:
    kind: Literal["walk"]
    steps: int


@dataclass
class Fly:
    kind: Literal["fly"]
    height: float


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Point(NamedTuple):
    x: float
    y: float


@attrs.define
class Box:
    size: Size
    corner: Point


class Query(TypedDict, total=False):
    text: str
    limit: int


@dataclass
class Times:
    at: datetime
    day: date
    span: timedelta
    id: UUID
    amount: Decimal
    data: bytes


@dataclass
class Bounded:
    code: Annotated[str, Meta(pattern="^[A-Z]{2}-[0-9]+$", examples=["AB-12"])]
    share: Annotated[float, Meta(gt=0, lt=1)]
    odd: Annotated[int, Meta(ge=7, multiple_of=5)]
    names: Annotated[list[Annotated[str, Meta(min_length=3)]], Meta(min_length=2, max_length=3)]
    scores: Annotated[dict[str, int], Meta(min_length=1)]
    unique: Annotated[set[int], Meta(min_length=2)]


class Model(pydantic.BaseModel):
    """A model."""

    name: Annotated[str, pydantic.Field(min_length=2, description="Its name.")]
    tags: list[str] = []
    parent: Model | None = None


class Aliased(pydantic.BaseModel):
    full_name: Annotated[str, pydantic.Field(alias="fullName")]


class Circle(pydantic.BaseModel):
    shape: Literal["circle"]
    radius: Annotated[float, pydantic.Field(gt=0)]


class Square(pydantic.BaseModel):
    shape: Literal["square"]
    side: float


@dataclass
class WithModel:
    model: Model
    circle: Circle | Square


@dataclass
class Named:
    """A dataclass of the name of a model."""

    x: int


class _Namesake:
    class Named(pydantic.BaseModel):
        y: int


Namesake = _Namesake.Named

# What a handler takes, what it gives, and whether it gives events.
CONTRACTS: Final[dict[str, tuple[Any, Any, bool]]] = {
    "plain": (AsDataclass, kinds.Reply, False),
    "events": (AsDataclass, Delta | Done, True),
    "typed_dict": (kinds.AsTypedDict, kinds.Reply, False),
    "attrs": (kinds.AsAttrs, Box, False),
    "struct": (kinds.AsStruct, Cat, False),
    "recursive": (Tree, Tree, False),
    "chain": (Chain, Chain, True),
    "generic": (Page[Tree], Page[int], False),
    "two_generics": (Page[Page[str]], Page[str], True),
    "tagged": (Cat | Dog, Cat | Dog, False),
    "tagged_events": (Cat | Dog, Cat | Dog, True),
    "literal": (Walk | Fly, Walk | Fly, False),
    "literal_events": (Walk | Fly, Walk | Fly, True),
    "nullable": (AsDataclass | None, kinds.Reply | None, False),
    "constrained": (Bounded, dict[str, list[int]], False),
    "times": (Times, Times, False),
    "optional": (Query, Query, False),
    "list": (list[Cat | Dog], list[int], True),
    "json": (dict[str, Any], Mapping[str, object], False),
    "namesakes": (kinds.Reply, Reply, False),
    "model": (Model, Model, False),
    "models": (Circle | Square, Circle | Square, True),
    "mixed": (WithModel, Delta | Done, True),
    "engines": (Named, Namesake, False),
    "union_of_engines": (Aliased, Delta | Model, True),
}


def agent_of(name: str, version: str = "3.1") -> type[InvocationHandler]:
    """A handler with the contract of that name."""
    taken: Any = CONTRACTS[name][0]
    given: Any = CONTRACTS[name][1]

    class Replying(InvocationHandler[taken, given]):
        openapi_version = version

        async def handle(self, request: Any, context: InvocationContext) -> Any:
            return web.Response(text="taken")

    class Streaming(InvocationHandler[taken, given]):
        openapi_version = version

        async def handle(self, request: Any, context: InvocationContext) -> AsyncIterator[Any]:
            yield web.StreamResponse()

    return Streaming if CONTRACTS[name][2] else Replying
