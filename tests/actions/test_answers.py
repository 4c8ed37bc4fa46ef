"""What an action is answered with (contract, section 6)."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationsServerOptions,
    map_invocations_server,
)
from agentserver.wire import is_valid_id
from tests.actions.agents import Agent, Counter, Payload, chunk, end, error, still_serves
from tests.actions.conversation import conversing, talking_to

# --- Answers


async def test_a_method_that_returns_answers_once_with_both_ids() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke("i", "s", a=[1, None, "é"])
        assert await conversation.frame() == {
            "type": "result",
            "invocation_id": "i",
            "session_id": "s",
            "payload": {"echo": {"a": [1, None, "é"]}},
        }


async def test_an_async_generator_streams_chunks_and_an_end() -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=2)
        assert await conversation.frames(3) == [chunk("i", 0), chunk("i", 1), end("i")]


async def test_a_method_that_returns_an_async_iterator_streams_it() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke("i", "s", count=1)
        assert await conversation.frames(2) == [chunk("i", {"number": 0}), end("i")]


async def test_an_empty_stream_is_an_end_alone() -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=0)
        assert await conversation.frame() == end("i")


async def test_without_ids_an_invocation_gets_new_ones() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke()
        await conversation.invoke()
        first, second = await conversation.frames(2)
        assert all(is_valid_id(frame["session_id"]) for frame in (first, second))
        assert is_valid_id(first["invocation_id"])
        assert first["invocation_id"] != second["invocation_id"]


async def test_an_id_that_breaks_the_rules_counts_as_absent() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke("not an id", "neither\n")
        frame = await conversation.frame()
        assert is_valid_id(frame["invocation_id"])
        assert is_valid_id(frame["session_id"])


# --- Errors


async def test_an_invocation_error_reaches_the_client() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke("i", "s", refuse="Come back tomorrow")
        assert await conversation.frame() == error("i", "quota_exceeded", "Come back tomorrow")
        await still_serves(conversation)


async def test_any_other_exception_is_an_internal_error_and_stays_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with talking_to(Agent) as conversation:
        await conversation.invoke("i", "s", **{"raise": "a secret"})
        assert await conversation.frame() == error("i", "internal_error", "Internal server error")
        await still_serves(conversation)
    (record,) = [record for record in caplog.records if record.name == "agentserver.actions"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "a secret"


@pytest.mark.parametrize(
    ("then", "code"), [("refuse", "enough"), ("raise", "internal_error"), ("nonsense", "internal_error")]
)
async def test_a_stream_that_fails_ends_with_an_error_frame(then: str, code: str) -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=1, then=then)
        first, last = await conversation.frames(2)
        assert first == chunk("i", 0)
        assert (last["type"], last["error"]["code"]) == ("error", code)
        assert "secret" not in json.dumps(last)


@pytest.mark.parametrize("result", [object(), float("nan"), {("a",): 1}, [{1, 2}]])
async def test_a_result_that_is_no_json_is_an_internal_error(result: Any) -> None:
    class Wrong(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return result

    async with talking_to(Wrong) as conversation:
        await conversation.invoke("i", "s")
        assert await conversation.frame() == error("i", "internal_error", "Internal server error")


async def test_a_handler_that_cancels_itself_is_an_internal_error() -> None:
    class Quitter(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            raise asyncio.CancelledError

        async def get_invocation(self, context: ActionContext) -> Any:
            raise asyncio.CancelledError

    async with talking_to(Quitter) as conversation:
        await conversation.invoke("i", "s")
        assert await conversation.frame() == error("i", "internal_error", "Internal server error")
        await conversation.act("get_invocation", "i")
        assert (await conversation.error())["code"] == "internal_error"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("hello", "invalid_json", "The message is not valid JSON"),
        ("", "invalid_json", "The message is not valid JSON"),
        ('{"action":"ping","action":"pong"}', "invalid_json", "The JSON has an object that repeats a name"),
        ("[" * 5_000_000, "invalid_json", "The JSON is nested too deeply"),
        ("[1]", "invalid_message", "The message must be a JSON object"),
        (b'{"action":"ping"}', "invalid_message", "A binary message is no action; send JSON as text"),
        ('{"action":"get_invocation"}', "invalid_request", "invocation_id is required"),
        ('{"action":"cancel_invocation"}', "invalid_request", "invocation_id is required"),
        ('{"action":"get_invocation","invocation_id":7}', "invalid_request", "invocation_id is required"),
        (
            '{"action":"cancel_invocation","invocation_id":"a b"}',
            "invalid_request",
            "invocation_id is required",
        ),
        ('{"action":"invoke","payload":"text"}', "invalid_request", "payload must be an object"),
        ('{"action":"invoke"}', "invalid_request", "payload is required"),
    ],
    ids=[
        "no JSON",
        "nothing",
        "a repeated name",
        "5 MB of nesting",
        "no object",
        "binary",
        "get without id",
        "cancel without id",
        "id of the wrong type",
        "id that breaks the rules",
        "payload of the wrong type",
        "no payload",
    ],
)
async def test_a_bad_frame_gets_an_error_frame_and_the_connection_goes_on(
    text: str | bytes, code: str, message: str
) -> None:
    async with talking_to(Agent) as conversation:
        await conversation.say(text)
        assert await conversation.error() == {"code": code, "message": message}
        await still_serves(conversation)


@pytest.mark.parametrize("action", ["subscribe", "", None, 7, ["invoke"]])
async def test_an_unknown_action_gets_an_error_frame_and_the_connection_goes_on(action: Any) -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act(action)
        assert (await conversation.error())["code"] == "invalid_action"
        await still_serves(conversation)


async def test_a_payload_over_the_transport_s_limit_closes_with_1009_in_an_application_of_one_s_own() -> None:
    app = web.Application()
    options = InvocationsServerOptions(websocket_max_message_size=1000)
    map_invocations_server(app, Agent, prefix="/v1", invocations=options)
    async with TestServer(app) as server:
        async with conversing(str(server.make_url("")), "/v1/invocations_ws/ws") as conversation:
            await still_serves(conversation)
            await conversation.invoke("i", "s", text="x" * 1000)
            await conversation.websocket.wait_closed()
            assert conversation.websocket.close_code == 1009


async def test_frames_are_compressed_where_that_was_negotiated() -> None:
    app = web.Application()
    map_invocations_server(app, Counter, invocations=InvocationsServerOptions(websocket_compression=True))
    async with TestServer(app) as server:
        async with conversing(str(server.make_url("")), compression="deflate") as conversation:
            assert [extension.name for extension in conversation.websocket.protocol.extensions] == [
                "permessage-deflate"
            ]
            await conversation.invoke("i", "s", to=50)
            assert await conversation.frames(51) == [*(chunk("i", number) for number in range(50)), end("i")]


async def test_an_id_in_flight_is_refused_and_its_invocation_goes_on() -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=1, then="wait")
        assert await conversation.frame() == chunk("i", 0)
        await conversation.invoke("i", "s", to=5)
        refusal = await conversation.error()
        assert (refusal["code"], refusal["invocation_id"]) == ("invalid_request", "i")
        assert "session_id" not in refusal
        await conversation.act("cancel_invocation", "i")
        assert (await conversation.frame())["error"]["code"] == "cancelled"


async def test_an_id_may_be_used_again_when_its_invocation_has_ended() -> None:
    async with talking_to(Counter) as conversation:
        for _ in range(3):
            await conversation.invoke("i", "s", to=1)
            assert await conversation.frames(2) == [chunk("i", 0), end("i")]
