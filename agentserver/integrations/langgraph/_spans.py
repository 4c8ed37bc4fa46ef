"""Spans of a LangGraph run: its nodes, its models, its tools."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from opentelemetry.trace import SpanKind

from agentserver.integrations._span_tree import SpanTree


class LangChainSpans(BaseCallbackHandler):
    """Makes the spans of one run; told by LangChain's callbacks."""

    run_inline = True  # in the loop's own thread, in the order in which it happens

    def __init__(self) -> None:
        self._spans = SpanTree("langgraph")
        self._above: dict[UUID, UUID | None] = {}  # of runs without a span of their own

    def _begin(
        self,
        run_id: UUID,
        parent: UUID | None,
        operation: str,
        name: str,
        *,
        attributes: dict[str, Any],
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        while parent is not None and parent in self._above:
            parent = self._above[parent]
        self._spans.begin(run_id, operation, name, attributes, parent=parent, kind=kind)

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A node begins, or one of the many steps inside."""
        node = (metadata or {}).get("langgraph_node")
        if node is None or kwargs.get("name") != node:
            self._above[run_id] = parent_run_id
        else:
            self._begin(run_id, parent_run_id, "run_node", node, attributes={"langgraph.node": node})

    def on_chain_end(self, outputs: dict[str, Any], *, run_id: UUID, **kwargs: Any) -> None:
        """It has ended."""
        self._above.pop(run_id, None)
        self._spans.end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has failed, or waits for a person."""
        self._above.pop(run_id, None)
        self._spans.end(run_id, _failure(error))

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A model is asked."""
        model = str((metadata or {}).get("ls_model_name") or "")
        attributes = {"gen_ai.request.model": model}
        self._begin(run_id, parent_run_id, "chat", model, attributes=attributes, kind=SpanKind.CLIENT)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """It has answered."""
        self._spans.end(run_id, attributes=_usage(response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has not."""
        self._spans.end(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is called."""
        name = str(kwargs.get("name") or serialized.get("name") or "")
        attributes = {"gen_ai.tool.name": name, "gen_ai.tool.call.id": kwargs.get("tool_call_id")}
        self._begin(run_id, parent_run_id, "execute_tool", name, attributes=attributes)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It has answered."""
        self._spans.end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has failed, or waits for a person."""
        self._spans.end(run_id, _failure(error))

    def over(self, kind: object, error: BaseException | None, trace: object) -> None:
        """The run is over; arguments as of ``__exit__``."""
        self._spans.close(error)


def _failure(error: BaseException) -> BaseException | None:
    """*error*, unless it is how a graph waits."""
    from langgraph.errors import GraphBubbleUp

    return None if isinstance(error, GraphBubbleUp) else error


def _usage(response: LLMResult) -> dict[str, Any]:
    last = response.generations[0][0] if response.generations and response.generations[0] else None
    message = last.message if isinstance(last, ChatGeneration) else None
    if not isinstance(message, AIMessage) or message.usage_metadata is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": message.usage_metadata["input_tokens"],
        "gen_ai.usage.output_tokens": message.usage_metadata["output_tokens"],
    }
