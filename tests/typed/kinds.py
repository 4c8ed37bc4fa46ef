"""The same contract, written as each kind of class that a handler may name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import attrs
import msgspec
from typing_extensions import NotRequired, TypedDict

from agentserver import InvocationContext, InvocationHandler

Message = Annotated[str, msgspec.Meta(min_length=1, examples=["Hello"])]


@dataclass
class AsDataclass:
    message: Message
    times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    language: Literal["en", "fr"] = "en"


class AsTypedDict(TypedDict):
    message: Message
    times: NotRequired[Annotated[int, msgspec.Meta(ge=1, le=3)]]
    language: NotRequired[Literal["en", "fr"]]


@attrs.define
class AsAttrs:
    message: Message
    times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    language: Literal["en", "fr"] = "en"


class AsStruct(msgspec.Struct):
    message: Message
    times: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    language: Literal["en", "fr"] = "en"


@dataclass
class Reply:
    said: str


@dataclass
class Delta:
    text: str


@dataclass
class Done:
    tokens: int


def attributes_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in ("message", "times", "language")}


def echo(taken: Any) -> type[InvocationHandler[Any, Reply]]:
    """A handler that takes *taken* and says its message as often as it asks."""

    class Echo(InvocationHandler[taken, Reply]):
        async def handle(self, request: Any, context: InvocationContext) -> Reply:
            fields = attributes_of(request) if hasattr(request, "message") else request
            return Reply(fields["message"] * fields.get("times", 1))

    return Echo


KINDS: Final[list[Any]] = [AsDataclass, AsTypedDict, AsAttrs, AsStruct]


class Chat(InvocationHandler[AsDataclass, Delta | Done]):
    """Talks."""

    async def handle(self, request: AsDataclass, context: InvocationContext) -> AsyncIterator[Delta | Done]:
        """Say each word."""
        for word in request.message.split():
            yield Delta(word)
        yield Done(tokens=12)
