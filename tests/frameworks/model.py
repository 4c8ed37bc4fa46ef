"""A stand-in for a model: speaks the OpenAI protocol on loopback, and does what the user's words say.

``python -m tests.frameworks.model`` serves it on the port that it prints. Words that it obeys:

==================  ==========================================================================
``weather in X``    calls ``get_weather``, and then says what that gave
``refund X``        calls ``refund``, which a person must approve, and then says what that gave
``both``            calls ``get_weather`` and ``refund`` at once
``fail N``          answers with the status N
``secret``          answers with status 400 and a text that no caller may see
``count N``         says N pieces
``slow``            a piece of text, and then nothing until the client leaves
``cut``             a piece of text, and then the connection is gone
anything else       says it back, with the number of the user's messages so far
==================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.frameworks import responses_protocol

KEY_OF_NOBODY: Final = "sk-the-key-of-nobody"
_WEATHER: Final = re.compile(r"weather in (\w+)")
_REFUND: Final = re.compile(r"refund ([\w-]+)")
_COUNT: Final = re.compile(r"count (\d+)")
_FAIL: Final = re.compile(r"fail (\d{3})")
_PIECE: Final = 8


@dataclass(frozen=True)
class Call:
    """A tool that the model calls."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the model says: text, or tools to call."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    ending: str = ""

    def pieces(self) -> Iterator[str]:
        """The text as it is streamed."""
        for start in range(0, len(self.text), _PIECE):
            yield self.text[start : start + _PIECE]


def reply_to(said: list[str], tools: set[str], outputs: list[str]) -> Reply:
    """What the model says.

    Args:
        said: The user's messages, from the first one on.
        tools: The names of the tools that it may call.
        outputs: What tools gave since the last of them.
    """
    words = said[-1] if said else ""
    if outputs:
        return Reply(f"The tool says: {'; '.join(outputs)}")
    if found := _COUNT.fullmatch(words):
        return Reply("a word. " * int(found[1]))
    if words in {"slow", "cut"}:
        return Reply("One moment", ending=words)
    calls: list[Call] = []
    if (found := _WEATHER.search(words)) or words == "both":
        calls.append(Call(f"call-w{len(said)}", "get_weather", {"city": found[1] if found else "Paris"}))
    if (found := _REFUND.search(words)) or words == "both":
        calls.append(Call(f"call-r{len(said)}", "refund", {"order": found[1] if found else "A-7"}))
    calls = [call for call in calls if call.name in tools]
    return Reply(calls=tuple(calls)) if calls else Reply(f"You said: {words} ({len(said)})")


@dataclass
class StandIn:
    """The model, and what it was asked.

    Args:
        url: What clients take for ``OPENAI_BASE_URL``.
        asked: The bodies of all requests so far.
        left: Set when a client of a slow answer has left.
        slow: Set when a slow answer has begun.
        failing: How many of the next requests fail.
        says: What the next answer is, whatever was asked.
        calls: The tool that the next answer calls, and with what.
    """

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    left: asyncio.Event = field(default_factory=asyncio.Event)
    slow: asyncio.Event = field(default_factory=asyncio.Event)
    failing: int = 0
    says: str = ""
    calls: tuple[str, dict[str, Any]] | None = None

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /v1/chat/completions``."""
        body = await self._read(request)
        messages: list[dict[str, Any]] = body["messages"]
        said = [_text(message["content"]) for message in messages if message["role"] == "user"]
        since = [n for n, message in enumerate(messages) if message["role"] == "user"][-1:]
        outputs = [
            _text(message["content"])
            for message in messages[since[0] if since else 0 :]
            if message["role"] == "tool"
        ]
        offered: list[dict[str, Any]] = body.get("tools") or []
        tools: set[str] = {tool["function"]["name"] for tool in offered}
        refused = self._refusal(said[-1] if said else "")
        if refused is not None:
            return refused
        reply = self._reply_to(said, tools, outputs)
        if not body.get("stream"):
            await self._linger(request, reply)
            return web.json_response(_whole(reply))
        return await self._stream(request, reply, _chunks(reply), done=b"data: [DONE]\n\n")

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /v1/responses``."""
        body = await self._read(request)
        said, outputs = responses_protocol.read_input(body["input"])
        offered: list[dict[str, Any]] = body.get("tools") or []
        tools: set[str] = {tool["name"] for tool in offered if "name" in tool}
        refused = self._refusal(said[-1] if said else "")
        if refused is not None:
            return refused
        reply = self._reply_to(said, tools, outputs)
        calls = [(call.id, call.name, json.dumps(call.arguments)) for call in reply.calls]
        if not body.get("stream"):
            await self._linger(request, reply)
            return web.json_response(responses_protocol.whole(reply.text, calls))
        events = responses_protocol.events(list(reply.pieces()), calls, cut=bool(reply.ending))
        return await self._stream(request, reply, events)

    async def _read(self, request: web.Request) -> dict[str, Any]:
        body: dict[str, Any] = await request.json()
        self.asked.append({**body, "traceparent": request.headers.get("traceparent")})
        return body

    async def _stream(
        self, request: web.Request, reply: Reply, chunks: Iterator[dict[str, Any]], done: bytes = b""
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for chunk in chunks:
            name = f"event: {chunk['type']}\n" if "type" in chunk else ""
            await response.write(f"{name}data: {json.dumps(chunk)}\n\n".encode())
        await self._linger(request, reply)
        await response.write(done)
        return response

    def _reply_to(self, said: list[str], tools: set[str], outputs: list[str]) -> Reply:
        if self.calls is not None:
            (name, arguments), self.calls = self.calls, None
            return Reply(calls=(Call("call-1", name, arguments),))
        if self.says:
            text, self.says = self.says, ""
            return Reply(text)
        return reply_to(said, tools, outputs)

    def _refusal(self, words: str) -> web.Response | None:
        if words == "secret":
            return web.json_response({"error": {"message": f"no access with {KEY_OF_NOBODY}"}}, status=400)
        found = _FAIL.fullmatch(words)
        if found is None and not self.failing:
            return None
        self.failing = max(0, self.failing - 1)
        error = {"error": {"message": f"failed with {KEY_OF_NOBODY}"}}
        return web.json_response(error, status=500 if found is None else int(found[1]))

    async def _linger(self, request: web.Request, reply: Reply) -> None:
        if reply.ending == "cut":
            assert request.transport is not None
            request.transport.abort()
        if reply.ending == "slow":
            self.slow.set()
            try:
                await asyncio.sleep(3600)
            finally:
                self.left.set()


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts: list[dict[str, Any]] = content or []
    return "".join(part.get("text", "") for part in parts)


_USAGE: Final = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
_HEAD: Final[Mapping[str, Any]] = {"id": "chatcmpl-1", "created": 1, "model": "stand-in"}


def _whole(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text or None, **_calls(reply)}
    ended = "tool_calls" if reply.calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": ended, "logprobs": None}
    return {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}


def _calls(reply: Reply) -> dict[str, Any]:
    calls = [
        {
            "index": n,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for n, call in enumerate(reply.calls)
    ]
    return {"tool_calls": calls} if calls else {}


def _chunks(reply: Reply) -> Iterator[dict[str, Any]]:
    def chunk(delta: Mapping[str, Any], ended: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        return {**_HEAD, "object": "chat.completion.chunk", "choices": [choice]}

    yield chunk({"role": "assistant", "content": ""})
    for piece in reply.pieces():
        yield chunk({"content": piece})
    if reply.calls:
        yield chunk(_calls(reply))
    if not reply.ending:
        yield chunk({}, "tool_calls" if reply.calls else "stop")
        yield {**_HEAD, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}


@asynccontextmanager
async def standing_in(port: int = 0) -> AsyncGenerator[StandIn, None]:
    """Serve a model of its own on a free port."""
    model = StandIn()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.complete)
    app.router.add_post("/v1/responses", model.respond)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        port = runner.addresses[0][1]
        model.url = f"http://127.0.0.1:{port}/v1"
        yield model
    finally:
        await runner.cleanup()


async def _serve() -> None:
    async with standing_in() as model:
        print(model.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
