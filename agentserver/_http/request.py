"""The request that handlers get on a host: aiohttp's own, with its body read in one piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.streams import StreamReader

from agentserver._http.pipeline import Pipeline
from agentserver.errors import PayloadTooLargeError


class HostRequest(web.Request):
    """A request whose response gets the framework's headers, with or without an application behind it."""

    _pipeline: Pipeline

    ATTRS = web.Request.ATTRS | frozenset({"_pipeline"})

    async def read(self) -> bytes:
        """The whole body; at once if it has arrived with the headers, as most do.

        Raises:
            PayloadTooLargeError: If it is larger than the server takes.
        """
        if self._read_bytes is None:
            payload = self._payload
            if payload.is_eof() and payload.total_bytes <= self._client_max_size:
                self._read_bytes = payload.read_nowait()
            else:
                # aiohttp gathers a body in a growing bytearray and copies that: a join copies it once.
                payload.set_read_chunk_size(self._client_max_size)
                self._read_bytes = b"".join([chunk async for chunk in self._chunks(payload)])
        return self._read_bytes

    async def _chunks(self, payload: StreamReader) -> AsyncIterator[bytes]:
        size = 0
        while chunk := await payload.readany():
            size += len(chunk)
            if size > self._client_max_size:
                raise PayloadTooLargeError(self._client_max_size)
            yield chunk

    @property
    def app(self) -> web.Application:
        """The application behind the host, if it was given one."""
        if self._match_info is None:
            raise RuntimeError("this host has no application: build it with builder.app to have one")
        return super().app

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        await self._pipeline.prepare(self, response)
