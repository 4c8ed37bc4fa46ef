"""The one-line server, customized: services, options, a health check, a shutdown hook."""

from typing import Any

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, InvocationsServer
from aiohttp import web


class Model:
    """Stands in for something expensive that all requests share."""

    def __init__(self) -> None:
        self.calls = 0

    async def complete(self, prompt: str) -> str:
        """Answer *prompt*."""
        self.calls += 1
        return f"{prompt}, and so on"

    async def ping(self) -> bool:
        """Whether the model can be reached."""
        return True


class AssistantHandler(InvocationHandler):
    """Gets the model by the annotation of its constructor's argument."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, Any]:
        """Answer ``POST /invocations``."""
        answer = await self._model.complete(await request.text())
        return {"answer": answer, "calls": self._model.calls}


def configure(builder: AgentHostBuilder) -> None:
    """Say what differs from the defaults."""
    model = Model()
    builder.services.add_singleton(Model, model)
    builder.configure(max_body_size=1_000_000, server_segments=("assistant/1.0",))
    builder.configure_health(lambda health: health.add_check("model", model.ping, timeout=2))
    builder.configure_shutdown(timeout=10)


if __name__ == "__main__":
    InvocationsServer.run(AssistantHandler, configure=configure)
