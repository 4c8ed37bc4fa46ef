"""The requests of a host, as its handlers get them."""

from __future__ import annotations

from aiohttp import web

from agentserver._http.aiohttp_internals import ServedRequest
from agentserver._http.pipeline import Pipeline


class HostRequest(ServedRequest):
    """A request whose response gets the framework's headers, with or without an application behind it."""

    _pipeline: Pipeline

    def _path_parameters(self) -> dict[str, str]:
        found = self._pipeline.routes.match(self.rel_url.raw_path)
        return {} if found is None else found[0].parameters(found[1])

    async def _before_head(self, response: web.StreamResponse) -> None:
        await self._pipeline.prepare(self, response)


def request_class(pipeline: Pipeline) -> type[HostRequest]:
    """The class of one host's requests: those that ``clone()`` makes know the pipeline as well."""

    class Request(HostRequest):
        _pipeline = pipeline

    return Request
