"""Faults at every await of a request's path, in any order: nothing hangs, leaks or is half a lie."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import hypothesis.strategies as st
from aiohttp import web
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentserver import (
    AgentHost,
    BadRequestError,
    FoundryEnvironment,
    InvocationContext,
    InvocationHandler,
)
from agentserver._http.connection import HostConnection
from agentserver._http.deadlines import ClientDeadlines
from tests.hardening.wire_double import WireDouble, responses

FAULTS: list[type[BaseException]] = [
    RuntimeError,
    ConnectionResetError,
    BadRequestError,
    TimeoutError,
    asyncio.TimeoutError,
    asyncio.CancelledError,
    web.HTTPConflict,
]


class Gated(InvocationHandler):
    """Echoes the body, and stops before each step until the machine lets it go on."""

    def __init__(self) -> None:
        self.gates: list[asyncio.Future[None]] = []

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        await self._gate()
        body = await request.read()
        await self._gate()
        return self._stream(body) if "stream" in request.query else body

    async def _stream(self, body: bytes) -> AsyncIterator[bytes]:
        await self._gate()
        yield body[:1]
        await self._gate()
        yield body[1:]
        await self._gate()

    async def _gate(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        try:
            await gate
        finally:
            if gate in self.gates:
                self.gates.remove(gate)


def request(kind: str, number: int) -> bytes:
    """The bytes of a request whose answer, if all is well, is its own body."""
    body = b"request %d" % number
    path = b"/invocations?stream" if "stream" in kind else b"/invocations"
    head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n"
    if "chunked" in kind:
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:]))
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


class Connection(RuleBasedStateMachine):
    """One connection, its client, its handler and its network."""

    @initialize()
    def connect(self) -> None:
        self.level = logging.getLogger("agentserver").level
        logging.getLogger("agentserver").setLevel(logging.CRITICAL)
        self.loop = asyncio.new_event_loop()
        self.handler = Gated()
        builder = AgentHost.create_builder(FoundryEnvironment()).add_invocations(self.handler)
        self.host = builder.build()
        self.deadlines = ClientDeadlines(builder.options)
        self.wire = WireDouble()
        self.requests: list[bytes] = []
        self.unsent = b""
        self.is_writing_paused = False
        self.is_connected = True
        self.run(self._connect())
        self.turn()

    async def _connect(self) -> None:
        await self.host.start(listen=False)
        assert self.host._server is not None
        connection = self.host._server()
        assert isinstance(connection, HostConnection)
        self.connection = connection
        self.connection.connection_made(self.wire)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    def turn(self) -> None:
        """Let everything happen that can."""

        async def spin() -> None:
            for _ in range(20):
                await asyncio.sleep(0)

        self.run(spin())

    @rule(kind=st.sampled_from(["plain", "chunked", "stream", "stream chunked"]))
    def want(self, kind: str) -> None:
        """The client makes a further request, of which nothing is sent as yet."""
        self.requests.append(b"request %d" % len(self.requests))
        self.unsent += request(kind, len(self.requests) - 1)

    @precondition(lambda self: self.is_connected and self.wire.reading and self.unsent)
    @rule(size=st.integers(1, 400))
    def send(self, size: int) -> None:
        part, self.unsent = self.unsent[:size], self.unsent[size:]
        self.loop.call_soon(self.connection.data_received, part)
        self.turn()

    @precondition(lambda self: self.handler.gates)
    @rule(which=st.integers(0, 9))
    def go_on(self, which: int) -> None:
        gate = self.handler.gates[which % len(self.handler.gates)]
        gate.set_result(None)
        self.turn()

    @precondition(lambda self: self.handler.gates)
    @rule(fault=st.sampled_from(FAULTS))
    def fail(self, fault: type[BaseException]) -> None:
        self.handler.gates[0].set_exception(fault())
        self.turn()

    @precondition(lambda self: self.is_connected)
    @rule()
    def stop_or_go_on_reading(self) -> None:
        """The client's window is full, or has room again."""
        self.is_writing_paused = not self.is_writing_paused
        step = self.connection.pause_writing if self.is_writing_paused else self.connection.resume_writing
        self.loop.call_soon(step)
        self.turn()

    @precondition(lambda self: self.is_connected)
    @rule()
    def reset(self) -> None:
        """Writing fails from now on."""
        self.wire.failing = True

    @precondition(lambda self: self.is_connected)
    @rule(error=st.sampled_from([None, ConnectionResetError(), OSError("no route")]))
    def leave(self, error: Exception | None) -> None:
        self.is_connected = False
        self.wire.closed = True
        self.loop.call_soon(self.connection.connection_lost, error)
        self.turn()

    @precondition(lambda self: self.is_connected)
    @rule(seconds=st.sampled_from([1, 40, 1000]), unsent=st.sampled_from([0, 0, 5000]))
    def wait(self, seconds: int, unsent: int) -> None:
        """Time passes, and the sweep looks at the connection twice."""
        self.wire.unsent = unsent
        for factor in (0.5, 1.0):
            self.connection.keep_to(self.deadlines, self.loop.time() + seconds * factor)
            self.turn()
        self.wire.unsent = 0

    @invariant()
    def nobody_is_told_a_lie(self) -> None:
        """Every answer belongs to its request, and only the last may be cut, with the connection closed."""
        if not hasattr(self, "wire") or self.wire.failing:
            return
        found = responses(bytes(self.wire.sent))
        for number, response in enumerate(found):
            if response.status != 200:
                assert response.status in {400, 408, 409, 500, 503}
                assert response.whole
            elif response.whole:
                assert response.body == self.requests[number]
            else:
                assert self.requests[number].startswith(response.body)
                assert number == len(found) - 1

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        logging.getLogger("agentserver").setLevel(self.level)
        if self.is_writing_paused and self.is_connected:
            self.stop_or_go_on_reading()
        self._let_everything_end()
        if not self.wire.failing and not self.wire.closed:
            assert all(response.whole for response in responses(bytes(self.wire.sent))), "cut, but not closed"
        if self.is_connected and not self.wire.closed:
            assert len(responses(bytes(self.wire.sent))) == len(self.requests), "a request hangs"
            self._is_right_for_one_more()
        if self.is_connected:
            self.leave(None)
        assert self.host.lifetime.active == 0
        self.run(self.host.stop())
        left = asyncio.all_tasks(self.loop)
        assert not left, "tasks are left"
        self.loop.close()

    def _let_everything_end(self) -> None:
        while self.handler.gates or (
            self.is_connected and self.wire.reading and self.unsent and not self.wire.closed
        ):
            if self.handler.gates:
                self.go_on(0)
            else:
                self.send(len(self.unsent))

    def _is_right_for_one_more(self) -> None:
        self.want("plain")
        self._let_everything_end()
        if not self.wire.failing:
            *_, last = responses(bytes(self.wire.sent))
            assert (last.status, last.body) == (200, self.requests[-1])


TestAnyFaultAnywhere = Connection.TestCase
TestAnyFaultAnywhere.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
