"""Calling a handler's methods directly."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from agentserver.errors import BadRequestError
from agentserver.testing import make_action_context, make_context, make_request
from tests.testing.agents import Adder, Counter, Echo


async def test_a_handler_can_be_called_without_a_server() -> None:
    answer = await Echo().handle(make_request("hello"), make_context(session_id="s-1"))
    assert (answer["echo"], answer["session"]) == ("hello", "s-1")
    with pytest.raises(BadRequestError):
        await Echo().handle(make_request("no"), make_context())


async def test_a_streaming_handler_can_be_iterated_without_a_server() -> None:
    events = [event.data async for event in Counter().handle(make_request(), make_context())]
    assert events == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("body", "media_type", "sent"),
    [
        ("héllo", "text/plain", "héllo".encode()),
        (b"raw", "application/octet-stream", b"raw"),
        ({"a": 1}, "application/json", b'{"a": 1}'),
        (None, "application/octet-stream", b""),
    ],
)
async def test_a_request_has_the_body_and_type_it_was_made_with(
    body: object, media_type: str, sent: bytes
) -> None:
    request = make_request(body)
    assert (request.content_type, await request.read()) == (media_type, sent)


async def test_a_request_has_headers_path_and_query() -> None:
    request = make_request(
        "{}", method="GET", path="/invocations/i-1", headers={"content-type": "text/x"}, query={"a": "1 2"}
    )
    assert (request.method, request.path, request.query["a"]) == ("GET", "/invocations/i-1", "1 2")
    assert request.content_type == "text/x"


async def test_a_large_body_can_be_read_whole() -> None:
    assert len(await make_request(b"x" * 1_000_000).read()) == 1_000_000


def test_a_context_has_all_that_a_request_would_bring() -> None:
    context = make_context(
        invocation_id="i-1",
        client_headers={"tenant": "a", "X-Client-Region": "b"},
        query=MultiDict([("a", "1"), ("a", "2")]),
        user_isolation_key="u",
        chat_isolation_key="c",
        user_id="id",
        call_id="call",
    )
    assert context.invocation_id == "i-1"
    assert dict(context.client_headers) == {"x-client-tenant": "a", "X-Client-Region": "b"}
    assert context.query_parameters.getall("a") == ["1", "2"]
    assert (context.isolation.user_isolation_key, context.isolation.chat_isolation_key) == ("u", "c")
    assert (context.platform.user_id, context.platform.call_id) == ("id", "call")
    assert not context.shutting_down.is_set()


async def test_a_method_of_actions_can_be_called_without_a_server() -> None:
    context = make_action_context(make_context(session_id="s-1", client_headers={"tenant": "a"}))
    sums = [total async for total in Adder().invoke({"numbers": [1, 2]}, context)]
    assert (sums, context.session_id, context.client_headers["x-client-tenant"]) == ([1, 3], "s-1", "a")
    assert await context.cancel() is False


async def test_what_cancel_does_in_a_context_of_actions_can_be_chosen() -> None:
    async def cancel() -> bool:
        return True

    assert await make_action_context(cancel=cancel).cancel() is True
