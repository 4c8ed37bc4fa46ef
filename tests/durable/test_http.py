"""The HTTP face of durable handlers (contract, section 11)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from tests.durable.agents import GATE, Typed, Worker
from tests.durable.harness import World
from tests.servers import serving

EVENTS = {"Accept": "text/event-stream"}
URL = "/invocations"


@pytest.fixture
def store(world: World) -> dict[str, str]:
    """The environment of a server, for each kind of store."""
    return {"AGENTSERVER_STORE": world.address}


@pytest.fixture
async def client(store: dict[str, str]) -> AsyncGenerator[aiohttp.ClientSession, None]:
    async with serving(Worker, environment=store) as client:
        yield client


def named(name: str, **more: str) -> dict[str, str]:
    return {"x-agent-invocation-id": name, **more}


async def ended(client: aiohttp.ClientSession, name: str, **headers: str) -> dict[str, Any]:
    while True:
        async with client.get(f"{URL}/{name}", headers=headers) as response:
            assert response.status == 200
            told: dict[str, Any] = await response.json()
        if told["status"] not in {"queued", "in_progress", "cancelling"}:
            return told
        await asyncio.sleep(0.005)


def frames(text: str) -> list[dict[str, str]]:
    """The frames of a stream, without comments and the retry."""
    found = [
        dict(line.split(": ", 1) for line in frame.split("\n") if not line.startswith(":"))
        for frame in text.split("\n\n")
        if frame and not frame.startswith((":", "retry"))
    ]
    return [frame for frame in found if frame]


async def test_a_post_is_answered_with_where_to_ask(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={"steps": 2}, headers=named("a")) as response:
        told = await response.json()
    assert response.status == 202
    assert (told["status"], told["invocation_id"]) == ("in_progress", "a")
    assert response.headers["Location"] == "/invocations/a"
    assert response.headers["Retry-After"] == "1"
    assert response.headers["x-agent-invocation-id"] == "a"
    assert response.headers["x-agent-session-id"] == told["session_id"]
    run = await ended(client, "a")
    assert run["output"] == {"steps": 2}
    assert (run["status"], run["attempt"], run["recoveries"], run["last_event_id"]) == ("completed", 1, 0, 4)
    assert run["session_id"] == told["session_id"]
    assert run["created_at"] <= run["updated_at"]


async def test_a_post_that_asks_for_events_gets_them_to_the_end(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={"steps": 2}, headers={**EVENTS, **named("a")}) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        text = await response.text()
    assert text.startswith("retry: 1000\n\n")
    told = frames(text)
    assert [frame.get("id") for frame in told] == ["1", "2", "3", "4", None]
    assert [frame.get("event") for frame in told] == ["run_start", None, None, "completed", "done"]
    assert json.loads(told[1]["data"]) == {"type": "part", "n": 0}
    assert json.loads(told[-1]["data"]) == {"type": "done", "invocation_id": "a"}
    assert json.loads(told[-2]["data"])["output"] == {"steps": 2}


@pytest.mark.parametrize("way", ["query", "header"])
async def test_a_reader_goes_on_after_the_event_it_names(client: aiohttp.ClientSession, way: str) -> None:
    async with client.post(URL, json={"steps": 30}, headers=named("a")):
        await ended(client, "a")
    url = f"{URL}/a?last_event_id=17" if way == "query" else f"{URL}/a"
    headers = EVENTS if way == "query" else {**EVENTS, "Last-Event-ID": "17"}
    async with client.get(url, headers=headers) as response:
        told = frames(await response.text())
    assert [frame["id"] for frame in told[:-1]] == [str(number) for number in range(18, 33)]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30])
async def test_a_cursor_that_is_no_number_is_refused(client: aiohttp.ClientSession, cursor: str) -> None:
    async with client.post(URL, json={}, headers=named("a")):
        pass
    async with client.get(f"{URL}/a?last_event_id={cursor}", headers=EVENTS) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == "invalid_request"


async def test_a_cursor_beyond_the_end_is_done_at_once(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={}, headers=named("a")):
        await ended(client, "a")
    async with client.get(f"{URL}/a?last_event_id=99", headers=EVENTS) as response:
        assert [frame.get("event") for frame in frames(await response.text())] == ["done"]


async def test_a_client_that_leaves_its_stream_changes_nothing(client: aiohttp.ClientSession) -> None:
    gate = str(uuid4())
    async with client.post(URL, json={"gate": gate}, headers={**EVENTS, **named("a")}) as response:
        await response.content.readuntil(b"\n\n")
    GATE.of(gate).set()
    assert (await ended(client, "a"))["status"] == "completed"


@pytest.mark.parametrize("header", ["x-client-idempotency-key", "idempotency-key"])
async def test_a_repeated_post_joins_the_first_run(client: aiohttp.ClientSession, header: str) -> None:
    async def post(body: Any, **headers: str) -> tuple[int, dict[str, Any], aiohttp.ClientResponse]:
        async with client.post(URL, json=body, headers={header: "key-1", **headers}) as response:
            return response.status, await response.json(), response

    gate = str(uuid4())
    status, first, _ = await post({"gate": gate})
    again, second, response = await post({"gate": gate})
    assert (status, again) == (202, 202)
    assert first == second
    assert response.headers["idempotency-replayed"] == "true"
    assert response.headers["x-agent-invocation-id"] == first["invocation_id"]
    conflict, told, _ = await post({"gate": "another"})
    assert (conflict, told["error"]["code"]) == (409, "idempotency_conflict")
    GATE.of(gate).set()
    await ended(client, first["invocation_id"])
    status, third, _ = await post({"gate": gate})
    assert (status, third["status"]) == (200, "completed")
    conflict, _, _ = await post({"gate": "another"})
    assert conflict == 409
    other, told, _ = await post({"steps": 1}, **{"x-agent-user-isolation-key": "somebody"})
    assert (other, told["invocation_id"] != first["invocation_id"]) == (202, True)


async def test_ten_posts_of_one_key_at_once_are_one_run(client: aiohttp.ClientSession) -> None:
    async def post() -> str:
        headers = {"x-client-idempotency-key": "k"}
        async with client.post(URL, json={"steps": 3}, headers=headers) as response:
            assert response.status in {200, 202}
            return str((await response.json())["invocation_id"])

    assert len(set(await asyncio.gather(*(post() for _ in range(10))))) == 1


async def test_the_same_invocation_id_joins_too_and_another_body_is_a_conflict(
    client: aiohttp.ClientSession,
) -> None:
    statuses: list[int] = []
    for steps in (1, 1, 2):
        async with client.post(URL, json={"steps": steps}, headers=named("same")) as response:
            statuses.append(response.status)
        await ended(client, "same")
    assert statuses == [202, 200, 409]


async def test_another_owners_run_is_not_there(client: aiohttp.ClientSession) -> None:
    mine, theirs = {"x-agent-user-id": "me"}, {"x-agent-user-id": "them"}
    async with client.post(URL, json={}, headers=named("mine", **mine)):
        await ended(client, "mine", **mine)
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/signal")):
        for headers in (theirs, {}):
            async with client.request(method, f"{URL}/mine{path}", headers=headers) as response:
                assert response.status == 404
                assert (await response.json())["error"]["code"] == "not_found"
    async with client.get(URL, headers=mine) as response:
        assert [run["invocation_id"] for run in (await response.json())["runs"]] == ["mine"]
    async with client.get(URL, headers=theirs) as response:
        assert (await response.json())["runs"] == []


async def test_a_run_is_cancelled_and_a_finished_one_stays_as_it_is(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={"gate": "never"}, headers=named("a")):
        pass
    async with client.post(f"{URL}/a/cancel") as response:
        assert (response.status, (await response.json())["status"]) == (202, "cancelling")
    assert (await ended(client, "a"))["status"] == "cancelled"
    async with client.post(f"{URL}/a/cancel") as response:
        assert (response.status, (await response.json())["status"]) == (200, "cancelled")
    async with client.get(f"{URL}/a", headers=EVENTS) as response:
        assert [frame.get("event") for frame in frames(await response.text())[-2:]] == ["cancelled", "done"]
    async with client.post(f"{URL}/unknown/cancel") as response:
        assert response.status == 404


async def test_a_second_input_of_a_session_waits_and_is_told_its_place(client: aiohttp.ClientSession) -> None:
    told: list[Any] = []
    gate = str(uuid4())
    body: dict[str, Any] = {}
    for number in range(11):
        url = f"{URL}?agent_session_id=one"
        async with client.post(url, json={"gate": gate}, headers=named(f"r{number}")) as response:
            body = await response.json()
            told.append((response.status, body.get("status"), body.get("position")))
    assert told[0] == (202, "in_progress", None)
    assert told[1:10] == [(202, "queued", place) for place in range(1, 10)]
    assert told[10][0] == 429
    assert body["error"]["code"] == "too_many_pending"
    GATE.of(gate).set()
    assert (await ended(client, "r9"))["status"] == "completed"


async def test_a_run_waits_for_what_another_request_signals(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={"approval": True}, headers=named("a")):
        pass
    async with client.post(
        f"{URL}/a/signal", json={"name": "approval", "payload": {"by": "Ann"}}
    ) as response:
        assert response.status == 202
    assert (await ended(client, "a"))["output"] == {"approved": {"by": "Ann"}}
    async with client.post(f"{URL}/a/signal", json={"name": "approval"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (409, "run_ended")
    async with client.post(f"{URL}/a/signal", json={"nome": "approval"}) as response:
        assert response.status == 400


async def test_a_failed_run_says_its_code_and_nothing_of_an_exception(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={"refuse": True}, headers=named("a")):
        told = await ended(client, "a")
    assert told["error"] == {"code": "invalid_request", "message": "There is no such topic"}
    async with client.post(URL, json={"steps": "many"}, headers=named("b")):
        told = await ended(client, "b")
    assert told["error"] == {"code": "internal_error", "message": "Internal server error"}


async def test_the_list_is_newest_first_in_pages(client: aiohttp.ClientSession) -> None:
    for number in range(5):
        async with client.post(URL, json={}, headers=named(f"r{number}")):
            await ended(client, f"r{number}")
    names: list[str] = []
    query = "?limit=2&status=completed"
    while query:
        async with client.get(URL + query) as response:
            page = await response.json()
        names += [run["invocation_id"] for run in page["runs"]]
        query = f"?limit=2&before={page['before']}" if "before" in page else ""
    assert names == ["r4", "r3", "r2", "r1", "r0"]
    for wrong in ("?limit=0", "?limit=x", "?status=odd"):
        async with client.get(URL + wrong) as response:
            assert response.status == 400


async def test_an_input_becomes_what_run_asks_for_or_is_refused_before_it_is_a_run(
    store: dict[str, str],
) -> None:
    async with serving(Typed, environment=store) as client:
        async with client.post(
            URL, json={"text": "bees"}, headers=named("a", **{"x-client-tone": "dry"})
        ) as response:
            assert response.status == 202
        assert (await ended(client, "a"))["output"] == "bees:1:dry"
        for body in (b"{", b"[]", b"{}", b'{"text": 1}', b'{"text": "a", "depth": "b"}'):
            async with client.post(URL, data=body) as response:
                assert response.status == 400, body
        async with client.get(URL) as response:
            assert len((await response.json())["runs"]) == 1


async def test_head_of_a_run_has_no_body_and_readiness_asks_the_store(client: aiohttp.ClientSession) -> None:
    async with client.post(URL, json={}, headers=named("a")):
        pass
    async with client.head(f"{URL}/a", headers=EVENTS) as response:
        assert (response.status, await response.read()) == (200, b"")
    async with client.get("/readiness") as response:
        assert response.status == 200
