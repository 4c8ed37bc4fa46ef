"""Metrics, as a collector receives them."""

from __future__ import annotations

import aiohttp
import pytest

from tests.telemetry.conftest import Observed, observing


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_requests_are_counted_by_route_method_and_status(protocol: str) -> None:
    async with observing(protocol) as seen:
        for body in ("plain", "plain", "fail", "refuse"):
            await seen.invoke(body)
        async with seen.client.get("/invocations/inv-1"), seen.client.get("/nothing"):
            pass
        await seen.stop()
    newest = {
        (p.attributes.get("http.route"), p.attributes["http.response.status_code"]): p
        for p in seen.received.metric("http.server.request.duration")
    }
    assert {key: point.count for key, point in newest.items()} == {
        ("/invocations", 200): 2,
        ("/invocations", 500): 1,
        ("/invocations", 400): 1,
        ("/invocations/{invocation_id}", 200): 1,
        (None, 404): 1,
    }
    assert newest["/invocations", 500].attributes["error.type"] == "ValueError"
    assert {point.unit for point in newest.values()} == {"s"}
    errors = {p.attributes["agentserver.error.code"]: p for p in seen.received.metric("agentserver.errors")}
    assert {code: point.value for code, point in errors.items()} == {
        "internal_error": 1,
        "invalid_request": 1,
        "not_found": 1,
    }
    assert errors["invalid_request"].attributes["agentserver.error.source"] == "user"


async def test_a_stream_has_a_time_to_first_byte_and_its_duration_goes_to_the_last(
    observed: Observed,
) -> None:
    await observed.invoke("stream")
    await observed.invoke("plain")
    await observed.stop()
    first = observed.received.metric("agentserver.response.time_to_first_byte")[-1]
    whole = observed.received.metric("http.server.request.duration")[-1]
    assert (first.count, whole.count) == (1, 2)
    assert 0 < first.value <= whole.value - 0.05  # which the handler waits between its words


async def test_active_requests_and_connections_rise_and_fall() -> None:
    async with observing(AGENT="websocket") as seen:
        async with seen.client.ws_connect("/invocations_ws"):
            await seen.received.until(
                lambda got: [
                    p for p in got.metric("agentserver.websocket.active_connections") if p.value == 1
                ]
            )
            assert seen.received.metric("http.server.active_requests")[-1].value == 1
        await seen.stop()
    assert seen.received.metric("agentserver.websocket.active_connections")[-1].value == 0
    assert seen.received.metric("http.server.active_requests")[-1].value == 0


async def test_a_made_up_method_becomes_no_attribute(observed: Observed) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.request("PROPFIND", f"{observed.server.url}/invocations") as response:
            assert response.status == 405
    await observed.stop()
    methods = {
        p.attributes["http.request.method"] for p in observed.received.metric("http.server.request.duration")
    }
    assert methods == {"_OTHER"}


async def test_a_close_code_of_the_client_s_own_becomes_no_attribute() -> None:
    async with observing(AGENT="websocket") as seen:
        for code in (1000, 1008, 3123, 4321, 4999):
            async with seen.client.ws_connect("/invocations_ws") as client:
                await client.close(code=code)
        await seen.stop()
    sessions = seen.received.metric("agentserver.websocket.session.duration")
    counts = {point.attributes.get("agentserver.websocket.close_code"): point.count for point in sessions}
    assert counts == {1000: 1, 1008: 1, None: 3}
