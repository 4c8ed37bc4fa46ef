"""The project's client and its handler at the two ends of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import pytest

from agentserver import ActionContext, InvocationActionHandler, InvocationError
from agentserver.client import ActionError, ConnectionClosedError, InvocationsClient
from agentserver.testing import in_process, on_socket

Payload = Mapping[str, Any]


class Counter(InvocationActionHandler):
    """Counts to ``to``, slowly if asked to; knows how far each invocation has come."""

    reached: dict[str, int] = {}  # noqa: RUF012 - one for all connections, as a service would be

    async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[int]:
        if payload["to"] < 0:
            raise InvocationError("too_low", "Count upwards")
        for number in range(payload["to"]):
            self.reached[context.invocation_id] = number
            await asyncio.sleep(payload.get("pause", 0))
            yield number

    async def get_invocation(self, context: ActionContext) -> Any:
        return {"reached": self.reached[context.invocation_id]}


async def test_many_invocations_run_at_once_and_each_gets_all_of_its_own_in_order() -> None:
    async with on_socket(Counter) as agent, agent.client.actions() as actions:
        results = await asyncio.gather(*(actions.invoke({"to": 100 + n}) for n in range(60)))
    assert [result.payload for result in results] == [list(range(100 + n)) for n in range(60)]


async def test_beyond_the_limit_the_client_is_told_and_the_others_are_answered() -> None:
    async with in_process(Counter) as agent, agent.client.actions() as actions:
        outcomes = await asyncio.gather(
            *(actions.invoke({"to": 3, "pause": 0.05}) for _ in range(70)), return_exceptions=True
        )
    refused = [outcome for outcome in outcomes if isinstance(outcome, ActionError)]
    assert [error.code for error in refused] == ["too_many_requests"] * 6
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 64


async def test_a_handler_s_error_is_an_action_error_and_the_connection_goes_on() -> None:
    async with in_process(Counter) as agent, agent.client.actions() as actions:
        with pytest.raises(ActionError, match="Count upwards") as caught:
            await actions.invoke({"to": -1})
        assert caught.value.code == "too_low"
        assert (await actions.invoke({"to": 2})).payload == [0, 1]


async def test_a_stream_is_asked_about_and_cancelled_while_it_runs() -> None:
    async with in_process(Counter) as agent, agent.client.actions() as actions:
        async with actions.stream({"to": 10_000, "pause": 0.01}, invocation_id="i") as stream:
            numbers = aiter(stream)
            assert await anext(numbers) == 0
            assert (await actions.get("i"))["reached"] >= 1
            assert await actions.cancel("i") == {"status": "cancelled"}
            with pytest.raises(ActionError) as caught:
                async for _ in numbers:
                    pass
            assert caught.value.code == "cancelled"


async def test_leaving_a_stream_early_cancels_it_and_its_id_can_be_used_again() -> None:
    async with in_process(Counter) as agent, agent.client.actions() as actions:
        async with actions.stream({"to": 10_000, "pause": 0.01}, invocation_id="i") as stream:
            assert await anext(aiter(stream)) == 0
        with suppress(ActionError):
            await actions.cancel("i")  # answered after the stream's own cancel
        assert (await actions.invoke({"to": 1}, invocation_id="i")).payload == [0]


async def test_the_session_is_the_client_s() -> None:
    class Told(InvocationActionHandler):
        async def invoke(self, payload: Payload, context: ActionContext) -> Any:
            return context.session_id

    async with on_socket(Told) as agent:
        async with InvocationsClient(agent.url, session_id="mine") as client, client.actions() as actions:
            result = await actions.invoke({})
    assert (result.payload, result.session_id) == ("mine", "mine")


async def test_when_the_server_goes_away_its_streams_say_so() -> None:
    async with on_socket(Counter) as agent, agent.client.actions() as actions:
        async with actions.stream({"to": 10_000, "pause": 0.01}) as stream:
            numbers = aiter(stream)
            await anext(numbers)
            await agent.host.stop()
            with pytest.raises(ConnectionClosedError) as caught:
                async for _ in numbers:
                    pass
            assert caught.value.code == 1001
