"""Spans of a run of the OpenAI Agents SDK: its agents, its models, its tools."""

from __future__ import annotations

from typing import Any

from agents import Agent, ModelResponse, RunContextWrapper, RunHooks, Tool
from agents.items import TResponseInputItem
from agents.tool_context import ToolContext
from opentelemetry.trace import SpanKind

from agentserver.integrations._span_tree import SpanTree


class RunSpans(RunHooks[Any]):
    """Makes the spans of one run; told by the SDK's hooks."""

    def __init__(self) -> None:
        self._spans = SpanTree("openai_agents")
        self._agent: str | None = None

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        """An agent begins; after a hand-off, another one."""
        self._end_agent()
        self._agent = name = str(agent.name)
        self._spans.begin(("agent", name), "invoke_agent", name, {"gen_ai.agent.name": name})

    async def on_agent_end(self, context: Any, agent: Any, output: Any) -> None:
        """It has answered."""
        self._end_agent()

    async def on_llm_start(
        self,
        context: RunContextWrapper[Any],
        agent: Agent[Any],
        system_prompt: str | None,
        input_items: list[TResponseInputItem],
    ) -> None:
        """A model is asked."""
        model = agent.model if isinstance(agent.model, str) else getattr(agent.model, "model", "")
        attributes = {"gen_ai.request.model": str(model or "")}
        self._begin(("model", agent.name), "chat", str(model or ""), attributes, SpanKind.CLIENT)

    async def on_llm_end(
        self, context: RunContextWrapper[Any], agent: Agent[Any], response: ModelResponse
    ) -> None:
        """It has answered."""
        used = {
            "gen_ai.usage.input_tokens": response.usage.input_tokens,
            "gen_ai.usage.output_tokens": response.usage.output_tokens,
        }
        self._spans.end(("model", agent.name), attributes=used)

    async def on_tool_start(self, context: RunContextWrapper[Any], agent: Any, tool: Tool) -> None:
        """A tool is called."""
        attributes = {"gen_ai.tool.name": tool.name, "gen_ai.tool.call.id": _call_id(context)}
        self._begin(("tool", tool.name, _call_id(context)), "execute_tool", tool.name, attributes)

    async def on_tool_end(
        self, context: RunContextWrapper[Any], agent: Any, tool: Tool, result: object
    ) -> None:
        """It has answered."""
        self._spans.end(("tool", tool.name, _call_id(context)))

    def over(self, kind: object, error: BaseException | None, trace: object) -> None:
        """The run is over; arguments as of ``__exit__``."""
        self._spans.close(error)

    def _begin(
        self,
        key: tuple[str, ...],
        operation: str,
        name: str,
        attributes: dict[str, Any],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        self._spans.begin(key, operation, name, attributes, parent=("agent", self._agent), kind=kind)

    def _end_agent(self) -> None:
        if self._agent is not None:
            self._spans.end(("agent", self._agent))
            self._agent = None


def _call_id(context: RunContextWrapper[Any]) -> str:
    return context.tool_call_id if isinstance(context, ToolContext) else ""
