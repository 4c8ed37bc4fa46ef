"""aiohttp's server, with our request type, our envelope for what cannot be parsed, and the body limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler

from agentserver.core._pipeline import Pipeline
from agentserver.errors import PayloadTooLargeError

if TYPE_CHECKING:
    from aiohttp.web_protocol import _ErrInfo


class HostRequest(web.Request):
    """A request whose response gets the framework's headers, with or without an application behind it."""

    _pipeline: Pipeline

    ATTRS = web.Request.ATTRS | frozenset({"_pipeline"})

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        await self._pipeline.prepare(self, response)


class HostConnection(RequestHandler):
    """One TCP connection."""

    __slots__ = ("_max_body_size", "_pipeline", "_receiving")

    def __init__(self, manager: HostServer, pipeline: Pipeline, **options: Any) -> None:
        super().__init__(manager, **options)
        self._pipeline = pipeline
        self._max_body_size = pipeline.max_body_size
        self._receiving: StreamReader | None = None

    def data_received(self, data: bytes) -> None:
        """Parse *data*, and stop a body that grows over the limit although it announced no length."""
        super().data_received(data)
        if self._messages:
            payload = self._messages[-1][1]
            self._receiving = None if payload.is_eof() else payload
        receiving = self._receiving
        if receiving is not None and receiving.total_bytes > self._max_body_size:
            self._receiving = None
            if receiving.exception() is None:
                receiving.set_exception(PayloadTooLargeError(self._max_body_size))

    def _make_error_handler(
        self, err_info: _ErrInfo
    ) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
        async def reject(request: web.BaseRequest) -> web.StreamResponse:
            assert isinstance(request, web.Request)
            return self._pipeline.reject(request, "The request is not valid HTTP/1.1")

        return reject


class HostServer(web.Server):
    """Makes the connections of one host.

    Args:
        pipeline: Answers every request.
        cancel_on_disconnect: Whether a client that leaves cancels its handler.
        keepalive_timeout: Seconds an idle connection is kept.
    """

    def __init__(self, pipeline: Pipeline, *, cancel_on_disconnect: bool, keepalive_timeout: float) -> None:
        super().__init__(
            pipeline.run,  # type: ignore[arg-type]  # aiohttp types the low-level server by BaseRequest
            request_factory=self._new_request,
            handler_cancellation=cancel_on_disconnect,
        )
        self._pipeline = pipeline
        self._keepalive_timeout = keepalive_timeout

    def __call__(self) -> HostConnection:
        return HostConnection(
            self,
            self._pipeline,
            loop=self._loop,
            keepalive_timeout=self._keepalive_timeout,
            access_log=None,
        )

    def _new_request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> HostRequest:
        request = HostRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            self._loop,
            client_max_size=self._pipeline.max_body_size,
        )
        request._pipeline = self._pipeline
        return request
