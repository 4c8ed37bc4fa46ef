"""Durable runs over the action protocol (contract, section 11): the same runs as over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest

from agentserver import ActionContext, Durable, InvocationActionHandler, Run
from agentserver.client import ActionError, ActionStream, AnswerError, DeadlineError, Retry, RunState
from agentserver.errors import HandlerError
from agentserver.testing import AgentUnderTest, in_process
from tests.durable.agents import GATE

MEMORY = {"AGENTSERVER_STORE": "memory", "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.2"}


class Worker(InvocationActionHandler, durable=Durable(busy="reject")):
    """Takes steps, then waits at a gate if one is named."""

    async def run(self, task: dict[str, Any], run: Run) -> dict[str, Any]:
        """Work."""
        for number in range(task.get("steps", 1)):
            await run.step("work", int, number)
            await run.emit({"n": number})
        if "gate" in task:
            await run.step("gate", GATE.of(task["gate"]).wait)
        if "approval" in task:
            return {"approved": await run.wait_for(task["approval"])}
        return {"steps": task.get("steps", 1), "tone": run.headers.get("x-client-tone")}


@pytest.fixture
async def agent() -> AsyncGenerator[AgentUnderTest, None]:
    async with in_process(Worker, environment=MEMORY) as agent:
        yield agent


async def result_of(stream: ActionStream) -> object:
    async with stream:
        return await stream.result()


async def test_a_run_is_begun_read_and_polled_over_actions(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        begun = await actions.invoke({"steps": 2}, invocation_id="a", session_id="s")
        state = RunState.read(begun.payload)
        assert (state.status, state.invocation_id, state.session_id) == ("in_progress", "a", "s")
        async with actions.events("a") as events:
            told = [event async for event in events]
        assert [event["id"] for event in told] == [1, 2, 3, 4]
        assert [event.get("event") for event in told] == ["run_start", None, None, "completed"]
        assert told[1]["data"] == {"n": 0}
        async with actions.events("a", after=3) as events:
            assert [event["id"] async for event in events] == [4]
        assert RunState.read(await actions.get("a")).output == {"steps": 2, "tone": None}


async def test_the_same_run_is_reached_over_http_and_over_actions(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        gate = str(uuid4())
        await actions.invoke({"steps": 1, "gate": gate}, invocation_id="a")
        joined = await agent.client.start({"gate": gate, "steps": 1}, invocation_id="a")
        assert (joined.status, joined.headers["idempotency-replayed"]) == (202, "true")
        with pytest.raises(ActionError) as conflict:
            await actions.invoke({"steps": 7}, invocation_id="a")
        assert conflict.value.code == "idempotency_conflict"
        again = await actions.invoke({"steps": 1, "gate": gate}, invocation_id="a")
        assert again.payload["status"] == "in_progress"
        await agent.client.cancel("a")
        run = (await agent.client.wait("a", interval=0.01)).run()
        assert run.status == "cancelled"
        again = await actions.invoke({"steps": 1, "gate": gate}, invocation_id="a")
        assert again.payload["status"] == "cancelled"


async def test_a_run_is_cancelled_while_its_events_are_read(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        await actions.invoke({"gate": str(uuid4())}, invocation_id="a", session_id="s")
        async with actions.events("a") as events:
            reading = aiter(events)
            assert (await anext(reading))["event"] == "run_start"
            assert (await actions.cancel("a"))["status"] == "cancelling"
            assert [event.get("event") async for event in reading][-1] == "cancelled"
        assert (await actions.cancel("a"))["status"] == "cancelled"


async def test_a_connection_that_ends_and_a_reader_that_leaves_change_nothing(agent: AgentUnderTest) -> None:
    gate = str(uuid4())
    async with agent.client.actions() as actions:
        await actions.invoke({"gate": gate}, invocation_id="a")
        async with actions.events("a") as events:
            await anext(aiter(events))
        assert (await actions.get("a"))["status"] == "in_progress"
    GATE.of(gate).set()
    assert (await agent.client.wait("a", interval=0.01)).run().status == "completed"


async def test_what_cannot_be_is_an_error_with_a_code(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        await actions.invoke({"gate": str(uuid4())}, session_id="s")
        for asking, code in (
            (actions.invoke({}, session_id="s"), "session_busy"),
            (actions.get("unknown"), "not_found"),
            (actions.cancel("unknown"), "not_found"),
            (result_of(actions.events("unknown")), "not_found"),
        ):
            with pytest.raises(ActionError) as refused:
                await asking
            assert refused.value.code == code


async def test_a_cursor_that_is_no_number_is_refused_and_the_connection_goes_on(
    agent: AgentUnderTest,
) -> None:
    async with agent.http.ws_connect("/invocations_ws") as socket:
        for cursor in ("1", -1, True, 1.5, 10**20):
            ask = {"action": "get_invocation", "invocation_id": "a", "last_event_id": cursor}
            await socket.send_json(ask)
            assert (await socket.receive_json())["error"]["code"] == "invalid_request"


async def test_a_run_is_begun_waited_for_signalled_and_listed_over_actions(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        begun = await actions.start({"approval": "go"}, invocation_id="a", session_id="s")
        assert (begun.status, begun.invocation_id, begun.session_id) == ("in_progress", "a", "s")
        with pytest.raises(ValueError, match="cannot be sent as JSON"):
            await actions.signal("a", "go", object())
        assert (await actions.signal("a", "go", {"by": "me"}))["status"] == "accepted"
        run = await actions.wait("a", interval=0.01)
        assert (run.status, run.output) == ("completed", {"approved": {"by": "me"}})
        for name in ("b", "c"):
            await actions.start({}, invocation_id=name)
            await actions.wait(name, interval=0.01)
        assert [run.invocation_id async for run in actions.list(page=1)] == ["c", "b", "a"]
        assert [run.invocation_id async for run in actions.list(session_id="s")] == ["a"]
        assert [run.invocation_id async for run in actions.list(status="failed")] == []
        for asking, code in (
            (actions.signal("a", "go"), "run_ended"),
            (actions.signal("unknown", "go"), "not_found"),
            (actions.wait("unknown"), "not_found"),
            (anext(actions.list(page=0)), "invalid_request"),
            (anext(actions.list(status="lost")), "invalid_request"),
        ):
            with pytest.raises(ActionError) as refused:
                await asking
            assert refused.value.code == code


async def test_a_key_over_actions_is_the_one_over_http(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        gate = str(uuid4())
        first = await actions.start({"gate": gate}, key="k", invocation_id="a")
        again = await actions.start({"gate": gate}, key="k", invocation_id="b")
        assert (again.invocation_id, again.session_id) == ("a", first.session_id)
        joined = (await agent.client.start({"gate": gate}, key="k")).run()
        assert joined.invocation_id == "a"
        with pytest.raises(ActionError) as conflict:
            await actions.start({"gate": "other"}, key="k")
        assert conflict.value.code == "idempotency_conflict"
        with pytest.raises(ValueError, match="key"):
            await actions.start({}, key="a b")
        # Who gives up waiting for the answer gives up nothing else.
        with pytest.raises(DeadlineError):
            await actions.wait("a", interval=0.01, timeout=0.05)
        GATE.of(gate).set()
        assert (await actions.wait("a", interval=0.01)).status == "completed"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"action": "invoke", "payload": {}, "idempotency_key": "a b"}, "idempotency_key must be 1 to 256"),
        ({"action": "invoke", "payload": {}, "idempotency_key": 1}, "idempotency_key must be 1 to 256"),
        ({"action": "signal_invocation", "invocation_id": "a"}, "name must be 1 to 256"),
        ({"action": "signal_invocation", "name": "go"}, "invocation_id is required"),
        ({"action": "list_invocations"}, "invocation_id is required"),
    ],
)
async def test_an_action_that_lacks_something_is_refused_with_a_sentence(
    agent: AgentUnderTest, wrong: dict[str, Any], sentence: str
) -> None:
    async with agent.http.ws_connect("/invocations_ws") as socket:
        await socket.send_json(wrong)
        error = (await socket.receive_json())["error"]
    assert (error["code"], error["message"][: len(sentence)]) == ("invalid_request", sentence)


async def test_a_list_has_the_callers_own_runs_and_the_id_of_its_question(agent: AgentUnderTest) -> None:
    async with agent.http.ws_connect("/invocations_ws", headers={"x-agent-user-id": "me"}) as socket:
        await socket.send_json({"action": "invoke", "invocation_id": "a", "payload": {}})
        _ = await socket.receive_json()
        await socket.send_json({"action": "list_invocations", "invocation_id": "q", "limit": 1})
        told = await socket.receive_json()
    assert (told["type"], told["invocation_id"], "session_id" in told) == ("result", "q", False)
    assert [run["invocation_id"] for run in told["payload"]["runs"]] == ["a"]
    assert told["payload"]["before"] == "a"
    async with agent.client.actions() as actions:
        assert [run async for run in actions.list()] == []


class Plain(InvocationActionHandler):
    """Is not durable."""

    async def invoke(self, payload: Any, context: ActionContext) -> Any:
        """Answer."""
        return "answer"

    async def get_invocation(self, context: ActionContext) -> Any:
        """Answer."""
        return "state"


async def test_a_handler_that_is_not_durable_knows_nothing_of_all_that() -> None:
    async with in_process(Plain) as agent, agent.http.ws_connect("/invocations_ws") as socket:
        await socket.send_json({"action": "invoke", "payload": {}, "idempotency_key": "a b"})
        assert (await socket.receive_json())["payload"] == "answer"
        await socket.send_json({"action": "get_invocation", "invocation_id": "a", "last_event_id": "x"})
        assert (await socket.receive_json())["payload"] == "state"
        for action in ("signal_invocation", "list_invocations"):
            await socket.send_json({"action": action, "invocation_id": "a", "name": "go"})
            error = (await socket.receive_json())["error"]
            assert error["code"] == "invalid_action"
            assert error["message"].endswith("get_invocation, cancel_invocation, ping, pong")
        async with agent.client.actions() as actions:
            with pytest.raises(ActionError, match="action must be one of"):
                await actions.signal("a", "go")
            with pytest.raises(AnswerError, match="is the handler durable"):
                await actions.start({})


async def test_a_start_whose_answer_a_broken_connection_takes_begins_once() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        async with agent.client.actions(reconnect=Retry(first_delay=0.01)) as actions:
            connection = actions._channel
            assert connection is not None
            send = connection._connection.send

            async def send_and_break(text: str) -> None:
                await send(text)
                await actions.ping()  # the server has read it
                connection._connection.abort()

            connection._connection.send = send_and_break  # type: ignore[method-assign,assignment]
            gate = str(uuid4())
            begun = await actions.start({"gate": gate}, invocation_id="a", session_id="s")
            assert begun.status == "in_progress"
            GATE.of(gate).set()
            assert (await actions.wait("a", interval=0.01)).status == "completed"
            assert [run.invocation_id async for run in actions.list()] == ["a"]


async def test_owner_and_headers_are_those_of_the_connection(agent: AgentUnderTest) -> None:
    mine = {"x-agent-user-id": "me", "x-client-tone": "dry"}
    async with agent.http.ws_connect("/invocations_ws/ws", headers=mine) as socket:
        await socket.send_json({"action": "invoke", "invocation_id": "a", "payload": {}})
        assert (await socket.receive_json())["payload"]["status"] == "in_progress"
        await socket.send_json({"action": "get_invocation", "invocation_id": "a", "last_event_id": 2})
        frames = [await socket.receive_json() for _ in range(2)]
        assert [frame["type"] for frame in frames] == ["stream_chunk", "stream_end"]
        assert frames[0]["payload"]["data"]["output"]["tone"] == "dry"
    async with agent.client.actions() as actions:
        with pytest.raises(ActionError) as refused:
            await actions.get("a")
        assert refused.value.code == "not_found"


async def test_readers_are_told_that_a_server_ends(agent: AgentUnderTest) -> None:
    async with agent.client.actions() as actions:
        await actions.invoke({"gate": str(uuid4())}, invocation_id="a")
        async with agent.http.ws_connect("/invocations_ws") as socket:
            await socket.send_json({"action": "get_invocation", "invocation_id": "a", "last_event_id": 1})
            await asyncio.sleep(0)
            stopping = asyncio.create_task(agent.host.stop())
            messages = [message async for message in socket]
            codes = [json.loads(message.data)["error"]["code"] for message in messages]
            assert codes in ([], ["unavailable"])
            assert socket.close_code == 1001
            await stopping


def test_an_action_of_its_own_is_refused_of_a_durable_class() -> None:
    for name in ("invoke", "get_invocation", "cancel_invocation"):

        async def method(self: object, *_: object) -> None: ...

        create: Any = type(InvocationActionHandler)
        with pytest.raises(HandlerError, match=f"is durable and has {name} of its own"):
            create("Mine", (InvocationActionHandler,), {name: method, "run": method}, durable=True)
