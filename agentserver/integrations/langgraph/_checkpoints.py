"""The checkpoints of a LangGraph session: in a session store, or where the graph keeps its own."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Interrupt, StateSnapshot

from agentserver.integrations.events import HumanRequest

Graph = CompiledStateGraph[Any, Any, Any, Any]


class Place(NamedTuple):
    """Where a turn runs.

    Args:
        thread_id: The session's thread.
        graph: The graph, with something that keeps its checkpoints.
        config: The thread, and the checkpoint to go on from.
        saver: Keeps them for the length of the turn; ``None`` if they stay where the graph keeps its own.
    """

    thread_id: str
    graph: Graph
    config: RunnableConfig
    saver: InMemorySaver | None

    @property
    def durability(self) -> Literal["exit"] | None:
        """When checkpoints are made: of a thread that is kept with the turn, once; else as the graph does."""
        return None if self.saver is None else "exit"


@lru_cache(maxsize=32)
def with_saver(graph: Graph, _handler: type) -> tuple[Graph, InMemorySaver]:
    """*graph* with a place for the checkpoints of the turns under way; one for each class of handlers."""
    saver = InMemorySaver()
    return graph.copy({"checkpointer": saver}), saver


def thread(key: str) -> RunnableConfig:
    """The thread of the session that is kept under *key*."""
    return {"configurable": {"thread_id": key}}


def requests_of(interrupts: Sequence[Interrupt[Any]]) -> list[HumanRequest]:
    """What a person is asked for."""
    return [HumanRequest(asked.id, "value", question=asked.value) for asked in interrupts]


async def last_turn(graph: Graph, config: RunnableConfig) -> StateSnapshot | None:
    """The state in which the last turn that ended has left the thread of *config*.

    A turn that failed or was cancelled leaves checkpoints too, of a conversation that stops in the middle: no
    model takes those any further. The next turn begins where the last whole one ended.
    """
    async for snapshot in graph.aget_state_history(config):
        if not snapshot.next or snapshot.interrupts:
            return snapshot
    return None


async def own_place(
    graph: Graph, checkpointer: BaseCheckpointSaver[Any], key: str
) -> tuple[Place, Sequence[Interrupt[Any]]]:
    """Where to go on in a graph that keeps its own checkpoints, and what is asked there."""
    config = thread(key)
    latest = await graph.aget_state(config)
    if latest.interrupts or not latest.next:
        return Place(key, graph, config, None), latest.interrupts
    found = await last_turn(graph, config)
    if found is None:
        await checkpointer.adelete_thread(key)
        return Place(key, graph, config, None), ()
    return Place(key, graph, found.config, None), found.interrupts


async def dump(place: Place, *, waiting: bool) -> bytes:
    """The thread of *place* as JSON: the last checkpoint, and those of its subgraphs that are needed."""
    saver = _saver(place)
    found: dict[str, CheckpointTuple] = {}
    async for kept in saver.alist({"configurable": {"thread_id": place.thread_id}}):
        namespace: str = kept.config.get("configurable", {})["checkpoint_ns"]
        # A subgraph's run has a namespace with its task's id: of use as long as it can be resumed.
        if waiting or ":" not in namespace:
            found.setdefault(namespace, kept)  # the newest comes first
    parts = [(name, kept.checkpoint, kept.metadata, kept.pending_writes) for name, kept in found.items()]
    form, data = saver.serde.dumps_typed(parts)
    return msgspec.json.encode({"form": form, "data": base64.b64encode(data).decode()})


async def restore(place: Place, state: bytes) -> None:
    """Make the thread of *place* what it was when *state* was dumped."""
    saver = _saver(place)
    kept = msgspec.json.decode(state)
    parts = saver.serde.loads_typed((kept["form"], base64.b64decode(kept["data"])))
    for namespace, checkpoint, metadata, writes in parts:
        config: RunnableConfig = {"configurable": {"thread_id": place.thread_id, "checkpoint_ns": namespace}}
        config = await saver.aput(config, checkpoint, metadata, checkpoint["channel_versions"])
        of_tasks: dict[str, list[tuple[str, Any]]] = {}
        for task, channel, value in writes or ():
            of_tasks.setdefault(task, []).append((channel, value))
        for task, values in of_tasks.items():
            await saver.aput_writes(config, values, task)


def _saver(place: Place) -> InMemorySaver:
    assert place.saver is not None
    return place.saver
