"""Action handlers over a real socket: one test for each rule of the protocol (contract, section 6)."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationError,
    InvocationsServerOptions,
    InvocationWebSocketHandler,
    map_invocations_server,
)
from agentserver._telemetry.correlation import correlation
from agentserver.errors import HandlerError
from agentserver.invocations._handler_definition import define
from agentserver.testing import on_socket
from agentserver.wire import is_valid_id
from tests.actions.conversation import Conversation, Frame, conversing, talking_to
from tests.servers import serving

Payload = Mapping[str, Any]


@dataclass
class Point:
    x: int


class Agent(InvocationActionHandler):
    """Does what the payload says."""

    async def invoke(self, payload: Payload, context: ActionContext) -> Any:
        if "raise" in payload:
            raise RuntimeError(payload["raise"])
        if "refuse" in payload:
            raise InvocationError("quota_exceeded", payload["refuse"])
        if "count" in payload:
            return count(payload["count"])
        if "wait" in payload:
            await asyncio.Event().wait()
        return {"echo": payload}


async def count(end: int) -> AsyncIterator[Any]:
    for number in range(end):
        yield {"number": number}


class Counter(InvocationActionHandler):
    """Counts to ``to``, then does what ``then`` says."""

    async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
        for number in range(payload["to"]):
            yield number
        then = payload.get("then")
        if then == "wait":
            await asyncio.Event().wait()
        elif then == "refuse":
            raise InvocationError("enough", "That is enough")
        elif then == "raise":
            raise RuntimeError("a secret")
        elif then == "nonsense":
            yield object()


def chunk(invocation_id: str, payload: Any) -> Frame:
    return {"type": "stream_chunk", "invocation_id": invocation_id, "session_id": "s", "payload": payload}


def end(invocation_id: str) -> Frame:
    return {"type": "stream_end", "invocation_id": invocation_id, "session_id": "s"}


def error(invocation_id: str, code: str, message: str) -> Frame:
    details = {"code": code, "message": message}
    return {"type": "error", "invocation_id": invocation_id, "session_id": "s", "error": details}


async def still_serves(conversation: Conversation) -> None:
    await conversation.invoke("last", "s", a=1)
    assert (await conversation.frame())["payload"] == {"echo": {"a": 1}}


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


# --- Get and cancel


class Store(Agent):
    """Answers gets, and cancels in its own way."""

    async def get_invocation(self, context: ActionContext) -> Any:
        if context.invocation_id == "lost":
            raise InvocationError("gone", "That one is gone")
        return Point(len(context.invocation_id))

    async def cancel_invocation(self, context: ActionContext) -> Any:
        return {"stopped": await context.cancel(), "session": context.session_id}


async def test_get_and_cancel_are_answered_without_a_session_id() -> None:
    async with talking_to(Store) as conversation:
        await conversation.act("get_invocation", "abc")
        assert await conversation.frame() == {"type": "result", "invocation_id": "abc", "payload": {"x": 3}}
        await conversation.act("get_invocation", "lost")
        assert await conversation.error() == {
            "invocation_id": "lost",
            "code": "gone",
            "message": "That one is gone",
        }


async def test_get_is_not_found_unless_overridden() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("get_invocation", "i")
        refusal = await conversation.error()
        assert (refusal["code"], refusal["invocation_id"]) == ("not_found", "i")
        await still_serves(conversation)


async def test_cancel_is_not_found_when_nothing_runs_under_the_id() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("cancel_invocation", "i")
        assert (await conversation.error())["code"] == "not_found"
        await still_serves(conversation)


@pytest.mark.parametrize("chunks", [0, 2])
async def test_cancel_ends_the_invocation_with_an_error_and_is_answered_with_a_result(chunks: int) -> None:
    async with talking_to(Counter) as conversation:
        await conversation.invoke("i", "s", to=chunks, then="wait")
        assert await conversation.frames(chunks) == [chunk("i", number) for number in range(chunks)]
        await conversation.act("cancel_invocation", "i")
        assert await conversation.frames(2) == [
            error("i", "cancelled", "The invocation was cancelled"),
            {"type": "result", "invocation_id": "i", "payload": {"status": "cancelled"}},
        ]


async def test_a_stream_that_never_waits_can_be_cancelled() -> None:
    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[int]:
            number = 0
            while True:
                yield number
                number += 1

    async with talking_to(Flood) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frames(10)
        await conversation.act("cancel_invocation", "i")
        frames = await conversation.until_end("i")
        assert frames[-1] == error("i", "cancelled", "The invocation was cancelled")
        numbers = [frame["payload"] for frame in frames[:-1]]
        assert numbers == list(range(10, 10 + len(numbers)))


async def test_an_invocation_that_will_not_be_cancelled_still_ends_as_cancelled() -> None:
    class Stubborn(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "finished anyway"

    async with talking_to(Stubborn) as conversation:
        await conversation.invoke("i", "s")
        await conversation.act("cancel_invocation", "i")
        assert [frame["type"] for frame in await conversation.frames(2)] == ["error", "result"]


async def test_a_second_cancel_does_not_disturb_the_cleaning_up_of_the_first() -> None:
    cleaned = asyncio.Event()
    may_end = asyncio.Event()

    class Tidy(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                await may_end.wait()
                cleaned.set()

        async def get_invocation(self, context: ActionContext) -> Any:
            may_end.set()

    async with talking_to(Tidy) as conversation:
        await conversation.invoke("i", "s")
        await conversation.act("cancel_invocation", "i")
        await conversation.act("cancel_invocation", "i")
        await conversation.act("get_invocation", "i")
        frames = await conversation.frames(4)
        assert frames[0] == error("i", "cancelled", "The invocation was cancelled")
        assert [frame["payload"] for frame in frames[1:]] == [
            {"status": "cancelled"},
            {"status": "cancelled"},
            None,
        ]
        assert cleaned.is_set()


async def test_a_handler_may_cancel_in_its_own_way() -> None:
    async with talking_to(Store) as conversation:
        await conversation.invoke("i", "s", wait=True)
        await conversation.act("cancel_invocation", "i")
        assert await conversation.frames(2) == [
            error("i", "cancelled", "The invocation was cancelled"),
            {"type": "result", "invocation_id": "i", "payload": {"stopped": True, "session": "s"}},
        ]
        await conversation.act("cancel_invocation", "i")
        assert (await conversation.frame())["payload"]["stopped"] is False


async def test_answers_about_one_id_come_in_the_order_of_the_questions() -> None:
    class Slowest(Agent):
        def __init__(self) -> None:
            self.left = 3

        async def get_invocation(self, context: ActionContext) -> Any:
            self.left -= 1
            mine = self.left
            for _ in range(mine * 5):
                await asyncio.sleep(0)
            return mine

    async with talking_to(Slowest) as conversation:
        for _ in range(3):
            await conversation.act("get_invocation", "i")
        assert [frame["payload"] for frame in await conversation.frames(3)] == [2, 1, 0]


# --- Side by side


async def test_invocations_of_one_connection_run_side_by_side() -> None:
    class Meeting(InvocationActionHandler):
        def __init__(self) -> None:
            self.here = 0
            self.all_here = asyncio.Event()

        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[str]:
            self.here += 1
            yield "waiting"
            if self.here == 3:
                self.all_here.set()
            await self.all_here.wait()
            yield "met"

    async with talking_to(Meeting) as conversation:
        for name in "abc":
            await conversation.invoke(name, "s")
        frames = await conversation.frames(9)
        for name in "abc":
            mine = [frame for frame in frames if frame["invocation_id"] == name]
            assert mine == [chunk(name, "waiting"), chunk(name, "met"), end(name)]


async def test_beyond_the_limit_an_invoke_is_refused_and_the_rest_go_on() -> None:
    class Two(Agent):
        max_concurrent_invocations = 2

    async with talking_to(Two) as conversation:
        await conversation.invoke("a", "s", wait=True)
        await conversation.invoke("b", "s", wait=True)
        await conversation.invoke("c", "s", wait=True)
        refusal = await conversation.error()
        assert (refusal["code"], refusal["invocation_id"], refusal["session_id"]) == (
            "too_many_requests",
            "c",
            "s",
        )
        await conversation.act("cancel_invocation", "a")
        assert (await conversation.frames(2))[0] == error("a", "cancelled", "The invocation was cancelled")
        await still_serves(conversation)


async def test_when_the_connection_ends_its_invocations_are_cancelled_and_awaited() -> None:
    began = asyncio.Semaphore(0)
    ended: list[str] = []
    over = asyncio.Event()

    class Worker(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            try:
                began.release()
                yield "begun"
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(context.invocation_id)

        async def handle_websocket(self, websocket: Any, context: Any) -> None:
            try:
                await super().handle_websocket(websocket, context)
            finally:
                ended.append("connection")
                over.set()

    async with talking_to(Worker) as conversation:
        await conversation.invoke("a", "s")
        await conversation.invoke("b", "s")
        await conversation.frames(2)
        await conversation.websocket.close()
        await asyncio.wait_for(over.wait(), 10)
    assert sorted(ended[:2]) == ["a", "b"]
    assert ended[2:] == ["connection"]


async def stalled(sent: Mapping[str, int]) -> None:
    before: Mapping[str, int] = {}
    while before != sent or not any(sent.values()):
        before = dict(sent)
        await asyncio.sleep(0.1)


async def test_a_slow_reader_slows_its_own_streams_and_nothing_else() -> None:
    sent: dict[str, int] = {}

    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for number in range(payload["to"]):
                sent[context.invocation_id] = number
                yield "x" * 1000

    async with talking_to(Flood) as slow:
        async with talking_to(Flood) as other:
            await slow.invoke("slow", "s", to=1_000_000)
            await other.invoke("other", "s", to=2000)
            assert len(await other.until_end("other")) == 2001
        await stalled(sent)
        assert sent["slow"] < 50_000, "the stream ran ahead of a reader that reads nothing"
        await slow.act("cancel_invocation", "slow")
        frames = await slow.until_end("slow")
        assert frames[-1]["error"]["code"] == "cancelled"


@pytest.mark.parametrize("size", [100, 20_000])
async def test_streams_that_never_wait_take_turns(size: int) -> None:
    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for _ in range(1000):
                yield "x" * size

    async with talking_to(Flood) as conversation:
        for name in "abc":
            await conversation.invoke(name, "s")
        frames = await conversation.frames(3 * 1001)
        first_end = next(i for i, frame in enumerate(frames) if frame["type"] == "stream_end")
        ahead = [frame["invocation_id"] for frame in frames[:first_end]]
        assert min(ahead.count(name) for name in "abc") > 500


async def test_a_cancel_while_the_reader_is_slow_leaves_the_other_streams_alone() -> None:
    sent = dict.fromkeys("abcd", 0)

    class Flood(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            for number in range(payload["to"]):
                sent[context.invocation_id] = number
                yield [number, "x" * 10_000]

    async with talking_to(Flood) as conversation:
        for name in "abcd":
            await conversation.invoke(name, "s", to=1000)
        await stalled(sent)
        await conversation.act("cancel_invocation", "a")
        await conversation.act("cancel_invocation", "b")
        frames: list[Frame] = []
        while sum(frame["type"] in {"stream_end", "error"} for frame in frames) < 4:
            frames.append(await conversation.frame())
        for name in "abcd":
            mine = [f for f in frames if f["invocation_id"] == name and "session_id" in f]
            numbers = [frame["payload"][0] for frame in mine[:-1]]
            assert numbers == list(range(len(numbers)))
            assert mine[-1]["type"] == ("error" if name in "ab" else "stream_end")
            assert (len(numbers) == 1000) == (name in "cd")


# --- Where it is served


async def test_actions_are_served_on_both_paths() -> None:
    for path in ("/invocations_ws", "/invocations_ws/ws", "/invocations_ws/ws/"):
        async with talking_to(Agent, path) as conversation:
            await still_serves(conversation)


async def test_a_raw_websocket_handler_has_no_action_path() -> None:
    class Raw(InvocationWebSocketHandler):
        async def handle_websocket(self, websocket: Any, context: Any) -> None: ...

    async with serving(Raw) as client, client.get("/invocations_ws/ws") as response:
        assert response.status == 404


@pytest.mark.parametrize("method", ["get_actions_openapi", "get_openapi"])
async def test_the_document_is_the_action_s_own_or_the_one_for_http(method: str) -> None:
    async def document(self: Agent, request: web.Request) -> Any:
        return {"openapi": "3.0.3"}

    async with serving(type("Documented", (Agent,), {method: document})) as client:
        async with client.get("/invocations_ws/docs/openapi.json") as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            assert await response.json() == {"openapi": "3.0.3"}


async def test_without_a_document_it_is_404() -> None:
    async with serving(Agent) as client, client.get("/invocations_ws/docs/openapi.json") as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "not_found"


async def test_http_works_beside_the_actions_on_the_same_class() -> None:
    class Both(Agent):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            return {"echo": await request.json()}

        async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
            return invocation_id

    async with serving(Both) as client:
        async with client.post("/invocations", json={"a": 1}) as response:
            assert await response.json() == {"echo": {"a": 1}}
        async with client.get("/invocations/i") as response:
            assert await response.text() == "i"


async def test_without_a_handle_of_its_own_post_is_404() -> None:
    async with serving(Agent) as client, client.post("/invocations") as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("query", "environment", "said", "expected"),
    [
        ("", {}, None, None),
        ("?agent_session_id=query", {}, None, "query"),
        ("?agent_session_id=query", {"FOUNDRY_AGENT_SESSION_ID": "env"}, None, "env"),
        ("", {"FOUNDRY_AGENT_SESSION_ID": "env"}, "said", "said"),
    ],
    ids=["the connection's own", "the query's", "the environment's", "the message's"],
)
async def test_an_invocation_belongs_to_the_session_of_its_message_or_else_of_its_connection(
    query: str, environment: dict[str, str], said: str | None, expected: str | None
) -> None:
    async with talking_to(Agent, f"/invocations_ws{query}", **environment) as conversation:
        response = conversation.websocket.response
        assert response is not None
        for _ in range(2):
            await conversation.invoke("i", said)
            frame = await conversation.frame()
            assert frame["session_id"] == (expected or response.headers["x-agent-session-id"])


async def test_the_context_has_the_invocation_s_ids_and_what_the_connection_brought() -> None:
    class Told(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return {
                "ids": [context.invocation_id, context.session_id],
                "client": dict(context.client_headers),
                "query": dict(context.query_parameters),
                "user": context.isolation.user_isolation_key,
                "call": context.platform.call_id,
                "stopping": context.shutting_down.is_set(),
            }

    headers = {
        "x-client-app": "voice",
        "x-agent-user-isolation-key": "u",
        "x-agent-foundry-call-id": "c",
    }
    async with serving(Told) as client:
        async with client.ws_connect("/invocations_ws?tier=gold", headers=headers) as websocket:
            await websocket.send_json(
                {"action": "invoke", "invocation_id": "i", "session_id": "s", "payload": {}}
            )
            assert (await websocket.receive_json())["payload"] == {
                "ids": ["i", "s"],
                "client": {"x-client-app": "voice"},
                "query": {"tier": "gold"},
                "user": "u",
                "call": "c",
                "stopping": False,
            }


async def test_log_records_of_an_invocation_carry_its_ids() -> None:
    seen: dict[str, str] = {}

    class Logging(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            seen.update(correlation())

    async with talking_to(Logging) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frame()
    assert (seen["invocation_id"], seen["session_id"]) == ("i", "s")
    assert seen["request_id"]


# --- The end of the connection


async def test_a_shutdown_closes_with_1001_and_cancels_what_runs() -> None:
    ended = asyncio.Event()

    class Waiting(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
            yield "begun"
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

    async with on_socket(Waiting) as agent, conversing(agent.url) as conversation:
        await conversation.invoke("i", "s")
        await conversation.frame()
        await agent.host.stop()
        assert ended.is_set()
        await conversation.websocket.wait_closed()
        assert conversation.websocket.close_code == 1001


# --- Keep-alive


async def test_a_ping_is_answered_with_a_pong_and_a_pong_with_nothing() -> None:
    async with talking_to(Agent) as conversation:
        await conversation.act("pong")
        await conversation.act("ping")
        assert await conversation.frame() == {"type": "pong"}


async def test_the_server_pings_at_its_interval() -> None:
    class Eager(Agent):
        ping_interval = 0.05

    async with talking_to(Eager) as conversation:
        assert await conversation.frames(3) == [{"type": "ping"}] * 3


async def test_an_interval_of_nought_is_no_ping() -> None:
    class Silent(Agent):
        ping_interval = 0.0

    async with talking_to(Silent) as conversation:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(conversation.websocket.recv(), 0.2)


def test_the_server_pings_every_thirty_seconds_by_default() -> None:
    assert InvocationActionHandler.ping_interval == 30.0
    assert InvocationActionHandler.max_concurrent_invocations == 64


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_concurrent_invocations", 0),
        ("max_concurrent_invocations", "64"),
        ("ping_interval", -1.0),
        ("ping_interval", float("inf")),
        ("ping_interval", float("nan")),
        ("ping_interval", None),
    ],
)
def test_an_option_that_cannot_be_used_is_said_when_the_class_is_registered(option: str, value: Any) -> None:
    wrong = type("Wrong", (Agent,), {option: value})
    with pytest.raises(HandlerError, match=f"^Wrong.{option} is {value!r}: set it to "):
        define(wrong)


def test_a_handler_without_invoke_is_refused_when_it_is_registered() -> None:
    class Empty(InvocationActionHandler):
        pass

    with pytest.raises(HandlerError, match=r"write 'async def invoke\(self, payload, context\)'"):
        define(Empty)


def test_a_sync_invoke_is_refused_when_it_is_registered() -> None:
    class Sync(InvocationActionHandler):
        def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return None

    with pytest.raises(HandlerError, match=r"Sync.invoke is not async"):
        define(Sync)
