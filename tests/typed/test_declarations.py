"""What cannot be read, written or told apart is refused at start-up, in one sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from aiohttp import web
from typing_extensions import TypedDict

from agentserver import InvocationContext, InvocationHandler, StartupError
from agentserver.invocations._handler_definition import define
from tests.servers import ROOT
from tests.typed.kinds import Delta, Done, Reply

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers

T = TypeVar("T")


@dataclass
class Cat:
    lives: int


@dataclass
class Dog:
    name: str


class Model(pydantic.BaseModel):
    x: int


class StructWithModel(msgspec.Struct):
    model: Model


@attrs.define
class AttrsWithModel:
    model: Model


@dataclass
class WithComplex:
    number: complex


@dataclass
class WithUnion:
    pet: Cat | Dog


@dataclass
class Deep:
    inner: list[WithUnion]


@dataclass
class WithFunction:
    call: Callable[[int], str]


@dataclass
class WithNameForCheckers:
    price: OnlyForCheckers


def taking(declared: Any) -> type[InvocationHandler]:
    class Agent(InvocationHandler[declared, Reply]):
        async def handle(self, request: Any, context: InvocationContext) -> Reply:
            return Reply("")

    return Agent


def giving(declared: Any) -> type[InvocationHandler]:
    class Agent(InvocationHandler[dict[str, int], declared]):
        async def handle(self, request: Any, context: InvocationContext) -> Any:
            return None

    return Agent


class Disagreeing(InvocationHandler[Cat, Reply]):
    async def handle(self, request: Dog, context: InvocationContext) -> Reply:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # on purpose
        return Reply("")


class GivingSomethingElse(InvocationHandler[Cat, Reply]):
    async def handle(self, request: Cat, context: InvocationContext) -> Done:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]  # on purpose
        return Done(1)


class SayingHalf(InvocationHandler):
    async def handle(self, request: Cat, context: InvocationContext):  # type: ignore[no-untyped-def]  # noqa: ANN201  # on purpose
        return Reply("")


class NamingNobody(InvocationHandler):
    async def handle(self, request: OnlyForCheckers, context: InvocationContext) -> Reply:
        return Reply("")


class WithWrongExample(InvocationHandler[Cat, Reply]):
    examples = ({"lives": "nine"},)

    async def handle(self, request: Cat, context: InvocationContext) -> Reply:
        return Reply("")


class WithWrongVersion(InvocationHandler[Cat, Reply]):
    openapi_version = "2.0"

    async def handle(self, request: Cat, context: InvocationContext) -> Reply:
        return Reply("")


class Forging(TypedDict):
    kind: Literal["a\ndata: forged"]


class Other(TypedDict):
    kind: Literal["b"]


class Streaming(InvocationHandler[Cat, Forging | Other]):
    async def handle(self, request: Cat, context: InvocationContext) -> AsyncIterator[Forging | Other]:
        yield {"kind": "b"}


class Generally(InvocationHandler[T, Reply], Generic[T]):
    async def handle(self, request: T, context: InvocationContext) -> Reply:
        return Reply(repr(request))


REFUSED: Final[list[tuple[type[InvocationHandler], tuple[str, ...]]]] = [
    (taking(Cat | Dog), ("takes Cat | Dog", "nothing tells Cat and Dog apart", "Literal['cat']", "tag=True")),
    (giving(Cat | Dog), ("gives Cat | Dog", "nothing tells Cat and Dog apart")),
    (taking(WithUnion), ("WithUnion.pet", "nothing tells Cat and Dog apart", "msgspec.Struct")),
    (taking(Deep), ("WithUnion.pet", "nothing tells Cat and Dog apart")),
    (taking(complex), ("takes complex", "has no form in JSON", "use a dataclass")),
    (taking(WithComplex), ("WithComplex.number is a complex", "has no form in JSON")),
    (taking(WithFunction), ("WithFunction.call is a Callable", "has no form in JSON")),
    (taking(StructWithModel), ("StructWithModel cannot have a pydantic model inside", "dataclass")),
    (taking(AttrsWithModel), ("AttrsWithModel cannot have a pydantic model inside", "dataclass")),
    (taking(WithNameForCheckers), ("WithNameForCheckers names OnlyForCheckers", "TYPE_CHECKING")),
    (taking(dict[str, int] | Cat), ("dict[str, int] | Cat", "a class of its own")),
    (Disagreeing, ("says Cat", "Dog in handle", "the same type in both")),
    (GivingSomethingElse, ("says Reply", "Done in handle")),
    (SayingHalf, ("SayingHalf.handle", "what it gives", "annotate")),
    (NamingNobody, ("NamingNobody.handle names OnlyForCheckers", "TYPE_CHECKING")),
    (WithWrongExample, ("an example of WithWrongExample", "$.lives: expected a whole number")),
    (WithWrongVersion, ("WithWrongVersion.openapi_version is '2.0'", "'3.1' or '3.2'")),
    (Streaming, ("Streaming gives", "line break", "Literal")),
    (Generally, ("leaves T open", "Generally[…]")),
]


@pytest.mark.parametrize(("handler", "words"), REFUSED, ids=lambda value: str(value)[-60:])
def test_what_cannot_work_is_one_sentence_at_start_up(
    handler: type[InvocationHandler], words: tuple[str, ...]
) -> None:
    with pytest.raises(StartupError) as refused:
        define(handler)
    sentence = str(refused.value)
    assert handler.__name__ in sentence
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence
    assert "msgspec.inspect" not in sentence
    assert len(sentence) < 320


class Concretely(Generally[Cat]):
    pass


class AsStrings(InvocationHandler["Cat", "Delta | Done"]):
    async def handle(self, request: Cat, context: InvocationContext) -> AsyncIterator[Delta | Done]:
        yield Done(1)


class ByAnnotation(InvocationHandler):
    async def handle(self, request: Cat, context: InvocationContext) -> Reply:
        return Reply("")


class Untagged(InvocationHandler[Model | Cat, Any]):
    async def handle(self, request: Any, context: InvocationContext) -> Any:
        return None


@pytest.mark.parametrize("handler", [Concretely, AsStrings, ByAnnotation])
def test_types_are_found_wherever_they_are_written(handler: type[InvocationHandler]) -> None:
    contract = define(handler).contract
    assert contract is not None
    assert contract.read(b'{"lives": 9}') == Cat(9)


class Raw(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return None


class RawWithoutWords(InvocationHandler):
    async def handle(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # as users write it
        return None


class RawAny(InvocationHandler):
    async def handle(self, request: Any, context: InvocationContext) -> Reply:
        return Reply("")


@pytest.mark.parametrize("handler", [Raw, RawWithoutWords, RawAny])
def test_a_handler_that_takes_the_request_has_no_types(handler: type[InvocationHandler]) -> None:
    assert define(handler).contract is None


SERVED: Final = """
import asyncio, sys
sys.path.insert(0, {root!r})
from agentserver.testing import in_process
{imports}

async def main() -> None:
    async with in_process({handler}) as agent:
        async with agent.http.post("/invocations", json={{"message": "hi"}}) as answer:
            assert answer.status == 200, await answer.text()
        async with agent.http.get("/invocations/docs/openapi.json") as answer:
            print(answer.status)

asyncio.run(main())
print(sorted({{"msgspec", "pydantic", "agentserver._typed"}} & sys.modules.keys()))
"""
RAW: Final = """
from aiohttp import web
from agentserver import InvocationHandler
class Raw(InvocationHandler):
    async def handle(self, request: web.Request, context):
        return "hi"
"""


@pytest.mark.parametrize(
    ("imports", "handler", "loaded"),
    [
        (RAW, "Raw", "404\n[]"),
        *(
            ("from tests.typed.kinds import *", f"echo({kind})", "200\n['agentserver._typed', 'msgspec']")
            for kind in ("AsDataclass", "AsTypedDict", "AsAttrs", "AsStruct")
        ),
    ],
)
def test_nothing_is_loaded_that_the_handler_does_not_use(imports: str, handler: str, loaded: str) -> None:
    program = SERVED.format(root=str(ROOT), imports=imports, handler=handler)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == loaded, ran.stderr


def test_a_union_that_a_literal_field_tells_apart_is_read() -> None:
    @dataclass
    class Walk:
        kind: Literal["walk"]
        steps: int

    @dataclass
    class Fly:
        kind: Literal["fly"]
        height: int

    contract = define(taking(Walk | Fly)).contract
    assert contract is not None
    assert contract.read(b'{"kind": "fly", "height": 3}') == Fly("fly", 3)
    for body, target in (
        (b"{}", "$.kind"),
        (b'{"kind": "swim"}', "$.kind"),
        (b'{"kind": "fly"}', "$.height"),
    ):
        with pytest.raises(Exception, match=target.removeprefix("$.")) as refused:
            contract.read(body)
        assert refused.value.details["target"] == target  # type: ignore[attr-defined]  # of an InvalidBodyError
