"""The framework's spans, metrics and records are the SDK's: what OpenTelemetry promises of them holds."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from tests.servers import running
from tests.telemetry.conftest import AGENT, TRACE_ID, TRACEPARENT, Observed, observing

ERROR = 2
INVOKE = "invoke_agent weather:7"
LINKED = f"{1:032x}"


async def test_links_and_odd_attributes_cost_a_span_nothing_but_what_cannot_be_written(
    observed: Observed,
) -> None:
    status, _ = await observed.invoke("describe")
    assert status == 200
    span, child = await observed.received.span(INVOKE), await observed.received.span("child")
    assert span.links == child.links == [(LINKED, {"why": "batch"})]
    ((name, event),) = span.events
    assert name == "happened"
    for attributes in (span.attributes, event):
        assert attributes["after"] == 2
        assert attributes["list"] == [1, 2]
        assert attributes["level"] == "high"
        assert attributes["bytes"] in {"abc", b"abc"}
        # No 64 bits, no text: neither can be written in OTLP.
        assert not {"big", "surrogate"} & attributes.keys()
    assert span.attributes["before"] == 1
    assert span.attributes["http.response.status_code"] == 200


async def test_odd_extra_fields_of_a_record_become_text(observed: Observed) -> None:
    await observed.invoke("describe")
    found = await observed.received.until(lambda seen: [r for r in seen.records if r.body == "described"])
    attributes = found[0].attributes
    assert attributes["big"] == str(1 << 70)
    assert attributes["none"] == "None"
    assert attributes["dict"] == "{'a': 1}"
    assert attributes["surrogate"] == "?"
    assert attributes["colour"] == "Colour.RED"


@pytest.mark.parametrize(
    ("word", "kind", "message"),
    [
        ("unprintable", "tests.telemetry.agent.UnprintableError", "that cannot be printed"),
        ("surrogate", "ValueError", "half a ? character"),
    ],
)
async def test_an_exception_that_cannot_be_printed_or_encoded_is_told_of_all_the_same(
    word: str, kind: str, message: str
) -> None:
    async with observing() as seen:
        status, _ = await seen.invoke(word)
        assert status == 500
        await seen.stop()
    (span,) = [span for span in seen.received.spans if span.name == INVOKE]
    ((event, details),) = span.events
    assert (span.status, event) == (ERROR, "exception")
    assert details["exception.type"].endswith(kind.rpartition(".")[2])
    assert message in details["exception.message"]
    (record,) = [record for record in seen.received.records if record.severity == "ERROR"]
    assert message in record.attributes["exception.message"]


async def test_the_limits_of_the_variables_hold_for_the_frameworks_spans() -> None:
    async with observing(OTEL_SPAN_EVENT_COUNT_LIMIT="3", OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="5") as seen:
        await seen.invoke("many")
        span = await seen.received.span(INVOKE)
    assert [details["number"] for _, details in span.events] == [7, 8, 9]
    assert span.attributes["gen_ai.system"] == "azure"


async def test_delta_temporality_has_the_extremes_of_its_own_interval() -> None:
    async with observing(OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE="delta") as seen:
        await seen.invoke("stream")  # the slow one
        slow: Any = await seen.received.until(lambda got: got.metric("http.server.request.duration"))
        for _ in range(3):
            await seen.invoke("plain")
        await seen.stop()
        later = seen.received.metric("http.server.request.duration")[1:]
    assert slow[0].is_delta
    assert slow[0].most >= 0.05
    assert sum(point.count for point in later) == 3
    assert max(point.most for point in later) < slow[0].most


async def test_an_exponential_histogram_is_made_where_the_variable_asks_for_it() -> None:
    name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    async with observing("http/protobuf", None, **{name: "base2_exponential_bucket_histogram"}) as seen:
        await seen.invoke("plain")
        await seen.stop()
    assert seen.received.metric("http.server.request.duration")[-1].count == 1


async def test_a_duration_has_the_trace_of_its_request_as_an_exemplar(observed: Observed) -> None:
    await observed.invoke("plain", traceparent=TRACEPARENT)
    await observed.stop()
    assert observed.received.metric("http.server.request.duration")[-1].exemplars == 1


async def test_attributes_of_the_resource_are_those_of_the_variable() -> None:
    async with observing(OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test") as seen:
        await seen.invoke("plain")
        span = await seen.received.span(INVOKE)
    assert span.resource["deployment.environment.name"] == "test"
    assert span.resource["service.name"] == "weather"


async def test_a_caller_that_does_not_sample_is_not_overruled(observed: Observed) -> None:
    await observed.invoke("child", traceparent=TRACEPARENT[:-1] + "0")
    await observed.invoke("plain", x_agent_invocation_id="sampled")
    await observed.stop()
    assert [s.attributes["gen_ai.response.id"] for s in observed.received.spans] == ["sampled"]


async def test_a_handler_that_ends_the_process_leaves_its_span(observed: Observed) -> None:
    status, _ = await observed.invoke("leave")
    assert status == 500
    span = await observed.received.span(INVOKE)
    assert (span.status, span.attributes["error.type"]) == (ERROR, "SystemExit")


@pytest.mark.parametrize("agent", ["own provider with a broken processor", "broken processor"])
async def test_a_processor_that_raises_breaks_no_request_on_whoevers_provider(agent: str) -> None:
    async with observing(AGENT=agent) as seen:
        for _ in range(3):
            status, _ = await seen.invoke("plain", traceparent=TRACEPARENT)
            assert status == 200
        await seen.stop()
    log = "".join(seen.server.log)
    assert log.count("RuntimeError: broken on start") == 1
    assert log.count("POST /invocations 200") == 3


async def test_without_a_span_of_ours_the_callers_trace_goes_on() -> None:
    environment = {"AGENT": "own provider with a broken processor", "AGENTSERVER_LOG_FORMAT": "json"}
    async with running(*AGENT, environment=environment) as server:
        async with aiohttp.ClientSession(server.url, headers={"traceparent": TRACEPARENT}) as client:
            async with client.post("/invocations", data="plain") as response:
                assert response.status == 200
                assert response.headers["x-request-id"] == TRACE_ID
        server.terminate()
        assert await server.exit_code() == 0
    lines = [json.loads(line) for line in server.log if '"agentserver.requests"' in line]
    assert [line["trace_id"] for line in lines] == [TRACE_ID]
