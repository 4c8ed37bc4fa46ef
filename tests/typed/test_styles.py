"""The same types in all styles of annotations: they work, or one sentence at start-up says why not."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentserver import InvocationHandler, StartupError
from agentserver.invocations._handler_definition import define

IMPORTS = """
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, List, Optional, Union
from agentserver import (
    ActionContext, InvocationActionHandler, InvocationContext, InvocationHandler, InvocationWebSocketHandler,
    TypedWebSocket,
)
"""
TYPES = """
@dataclass
class Inner:
    n: int

@dataclass
class Ask:
    text: str
    inner: {inner}
    more: {more}

@dataclass
class Reply:
    text: str
"""
HANDLERS = """
class Http(InvocationHandler[{ask}, {reply}]):
    async def handle(self, request: {ask}, context: InvocationContext) -> {reply}:
        return Reply(request.text)

class ByAnnotation(InvocationHandler):
    async def handle(self, request: {ask}, context: InvocationContext) -> {reply}:
        return Reply(request.text)

class Events(InvocationHandler[{ask}, {reply}]):
    async def handle(self, request: {ask}, context: InvocationContext) -> {events}:
        yield Reply(request.text)

class Messages(InvocationWebSocketHandler[{ask}, {reply}]):
    async def handle_websocket(self, websocket: Any, context: InvocationContext) -> None: ...

class Actions(InvocationActionHandler[{ask}, {reply}]):
    async def invoke(self, payload: {ask}, context: ActionContext) -> {events}:
        yield Reply(payload.text)

class ActionsByAnnotation(InvocationActionHandler):
    async def invoke(self, payload: {ask}, context: ActionContext) -> {events}:
        yield Reply(payload.text)
"""
NAMES = ("Http", "ByAnnotation", "Events", "Messages", "Actions", "ActionsByAnnotation")
PLAIN = {"ask": "Ask", "reply": "Reply", "events": "AsyncIterator[Reply]", "inner": "Inner"}
QUOTED = {
    "ask": '"Ask"',
    "reply": '"Reply"',
    "events": '"AsyncIterator[Reply]"',
    "inner": '"Inner"',
}
STYLES = {
    "as they are": (IMPORTS + TYPES + HANDLERS, {**PLAIN, "more": "list[int] | None = None"}),
    "of typing": (IMPORTS + TYPES + HANDLERS, {**PLAIN, "more": "Optional[List[int]] = None"}),
    "unions of typing": (IMPORTS + TYPES + HANDLERS, {**PLAIN, "more": "Union[List[int], None] = None"}),
    "postponed": (
        "from __future__ import annotations" + IMPORTS + TYPES + HANDLERS,
        {**PLAIN, "more": "list[int] | None = None"},
    ),
    "strings": (IMPORTS + TYPES + HANDLERS, {**QUOTED, "more": '"list[int] | None" = None'}),
}


@pytest.fixture
def module_of(tmp_path: Path) -> Callable[[str], ModuleType]:
    def load(source: str) -> ModuleType:
        path = tmp_path / "style_of_annotations.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("style", STYLES)
def test_a_style_works(style: str, module_of: Callable[[str], ModuleType]) -> None:
    source, words = STYLES[style]
    module = module_of(source.format(**words))
    for name in NAMES:
        offered = define(getattr(module, name))
        contract = offered.contract or (offered.messages and offered.messages.contract)
        assert contract is not None, name
        asked: Any = contract.read(b'{"text": "a", "inner": {"n": 1}, "more": [2]}')
        assert (type(asked), type(asked.inner), asked.more) == (module.Ask, module.Inner, [2])
        assert contract.write(module.Reply("x")) == b'{"text":"x"}'


@pytest.mark.parametrize(
    ("types", "handler", "words"),
    [
        ("    inner: 'Hidden'", "InvocationHandler[Ask, int]", "Ask names Hidden in an annotation"),
        ("    n: int", "InvocationHandler['Hidden', int]", "names Hidden as a string in its base class"),
        ("    n: int", "InvocationHandler", "Wrong.handle names Hidden in an annotation"),
    ],
)
def test_a_name_for_checkers_alone_is_one_sentence(
    types: str, handler: str, words: str, module_of: Callable[[str], ModuleType]
) -> None:
    request = "'Hidden'" if handler == "InvocationHandler" else "Any"
    module = module_of(
        f"{IMPORTS}\nif TYPE_CHECKING:\n    from decimal import Decimal as Hidden\n"
        f"@dataclass\nclass Ask:\n{types}\n"
        f"class Wrong({handler}):\n"
        f"    async def handle(self, request: {request}, context: InvocationContext) -> int:\n"
        "        return 1\n"
    )
    wrong: type[InvocationHandler] = module.Wrong
    with pytest.raises(StartupError, match=words) as refused:
        define(wrong)
    assert "outside TYPE_CHECKING" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_names_for_checkers_alone_do_no_harm_where_the_class_says_the_types(
    module_of: Callable[[str], ModuleType],
) -> None:
    module = module_of(
        f"from __future__ import annotations\n{IMPORTS}\n"
        "if TYPE_CHECKING:\n    from typing import Any as Context\n"
        "class Right(InvocationHandler[int, int]):\n"
        "    async def handle(self, request: int, context: Context) -> int:\n        return 1\n"
    )
    contract = define(module.Right).contract
    assert contract is not None
    assert contract.read(b"5") == 5
