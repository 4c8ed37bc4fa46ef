"""What a handler learns of its request: all of section 2 of the contract."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, IsolationContext, PlatformContext
from tests.http.raw import Answer, ask, get, post
from tests.servers import serving

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ENVIRONMENT = {"FOUNDRY_AGENT_SESSION_ID": "from-env"}


class Recording(InvocationHandler):
    """Keeps the last context, and the id it was called with."""

    def __init__(self) -> None:
        self.context = InvocationContext(invocation_id="none", session_id="none")
        self.invocation_id = ""

    def keep(self, context: InvocationContext, invocation_id: str = "") -> str:
        self.context, self.invocation_id = context, invocation_id
        return "ok"

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return self.keep(context)

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return self.keep(context, invocation_id)

    async def cancel(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return self.keep(context, invocation_id)


async def asked(request: bytes, environment: dict[str, str] | None = None) -> tuple[Answer, Recording]:
    """The answer to *request*, and the handler that was asked."""
    handler = Recording()
    async with serving(handler, environment=environment) as client:
        answer = await ask(client, request)
    assert answer.headers["x-agent-invocation-id"] == handler.context.invocation_id
    assert answer.headers["x-agent-session-id"] == handler.context.session_id
    return answer, handler


@pytest.mark.parametrize("supplied", ["a", "inv_A-1.2:3", "x" * 256])
async def test_an_invocation_id_that_is_one_is_taken(supplied: str) -> None:
    _, handler = await asked(post(b"", f"X-Agent-Invocation-Id: {supplied}"))
    assert handler.context.invocation_id == supplied


@pytest.mark.parametrize("supplied", ["", " ", "a b", "a/b", "ü", "x" * 257, "{}", "a,b", "<script>"])
async def test_an_invocation_id_that_is_none_counts_as_absent(supplied: str) -> None:
    _, handler = await asked(post(b"", f"x-agent-invocation-id: {supplied}"))
    assert UUID.fullmatch(handler.context.invocation_id)


@pytest.mark.parametrize("path", ["/invocations/{}", "/invocations/{}/cancel"])
async def test_the_id_of_get_and_cancel_is_the_paths_whatever_the_headers_say(path: str) -> None:
    method = "POST" if path.endswith("cancel") else "GET"
    for segment, expected in (("inv-1", "inv-1"), ("a%3Ab", "a:b"), ("a%20b", None), ("x" * 257, None)):
        request = get(path.format(segment), "x-agent-invocation-id: from-header", method=method)
        _, handler = await asked(request)
        assert handler.invocation_id == handler.context.invocation_id
        assert handler.invocation_id == expected or (
            expected is None and UUID.fullmatch(handler.invocation_id)
        )


@pytest.mark.parametrize(
    ("query", "environment", "expected"),
    [
        ("?agent_session_id=s-1", ENVIRONMENT, "s-1"),
        ("?agent_session_id=s%3A1", {}, "s:1"),
        ("?agent_session_id=s-1&agent_session_id=s-2", {}, "s-1"),
        ("?agent_session_id=a%20b", ENVIRONMENT, "from-env"),
        ("?agent_session_id=", ENVIRONMENT, "from-env"),
        ("", ENVIRONMENT, "from-env"),
        ("?Agent_Session_Id=s-1", {}, None),
        ("", {}, None),
    ],
)
async def test_the_session_id_of_a_post_is_the_querys_then_the_environments_then_new(
    query: str, environment: dict[str, str], expected: str | None
) -> None:
    _, handler = await asked(post(path=f"/invocations{query}"), environment)
    session_id = handler.context.session_id
    assert session_id == expected or (expected is None and UUID.fullmatch(session_id))


async def test_the_session_id_of_get_and_cancel_is_never_the_querys() -> None:
    for request in (
        get("/invocations/i?agent_session_id=s-1"),
        post(path="/invocations/i/cancel?agent_session_id=s-1"),
    ):
        _, handler = await asked(request, ENVIRONMENT)
        assert handler.context.session_id == "from-env"
        _, handler = await asked(request)
        assert UUID.fullmatch(handler.context.session_id)


async def test_client_headers_are_all_that_begin_so_and_look_up_ignores_case() -> None:
    headers = ("x-client-a: 1", "X-CLIENT-A: 2", "x-client-: 3", "x-clientb: 4", "client-c: 5", "x-client-d:")
    _, handler = await asked(post(b"", *headers))
    found = handler.context.client_headers
    assert sorted(found.items()) == [
        ("X-CLIENT-A", "2"),
        ("x-client-", "3"),
        ("x-client-a", "1"),
        ("x-client-d", ""),
    ]
    assert found.getall("X-Client-A") == ["1", "2"]


async def test_query_parameters_are_decoded_once_and_all_of_them_kept() -> None:
    _, handler = await asked(post(path="/invocations?a=1&b=x+y&a=2&c=%252B&d&e=%C3%BC&agent_session_id=s"))
    assert list(handler.context.query_parameters.items()) == [
        ("a", "1"),
        ("b", "x y"),
        ("a", "2"),
        ("c", "%2B"),
        ("d", ""),
        ("e", "ü"),
        ("agent_session_id", "s"),
    ]


async def test_keys_and_platform_ids_are_the_first_value_trimmed_and_empty_means_absent() -> None:
    headers = (
        "x-agent-user-isolation-key: \t user-1 ",
        "x-agent-user-isolation-key: user-2",
        "X-Agent-Chat-Isolation-Key:   ",
        "x-agent-user-id: uid-1",
        "x-agent-foundry-call-id: call-1",
    )
    _, handler = await asked(post(b"", *headers))
    assert handler.context.isolation == IsolationContext("user-1", None)
    assert handler.context.platform == PlatformContext("uid-1", "call-1")
    _, handler = await asked(post())
    assert handler.context.isolation == IsolationContext.EMPTY
    assert handler.context.platform == PlatformContext.EMPTY


async def test_a_context_cannot_be_changed() -> None:
    _, handler = await asked(post(b"", "x-client-a: 1", path="/invocations?a=1"))
    context: Any = handler.context
    for name in (
        "invocation_id",
        "session_id",
        "client_headers",
        "query_parameters",
        "isolation",
        "platform",
    ):
        with pytest.raises(AttributeError):
            setattr(context, name, "forged")
    with pytest.raises(FrozenInstanceError):
        context.isolation.user_isolation_key = "forged"
    with pytest.raises(TypeError):
        context.client_headers["x-client-a"] = "forged"
    with pytest.raises(TypeError):
        context.query_parameters["a"] = "forged"
    with pytest.raises(AttributeError):
        context.invented = "forged"
    assert "user" not in repr(context)
