"""Traces, Actions and Runs on the page, in a real browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Browser, Page, browser
from tests.inspector.inspected import Inspected, inspected
from tests.servers import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM),
]

ROWS = "[...document.querySelectorAll('[role=tabpanel]:not([hidden]) {}')]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncGenerator[Browser, None]:
    async with browser() as running:
        yield running


async def opened(chromium: Browser, dev: Inspected, tab: str) -> Page:
    page = await chromium.page(dev.address)
    await page.until("document.querySelector('#agent-state.running')")
    await page.click(tab)
    return page


async def closed(page: Page) -> None:
    assert page.problems == []
    await page.close()


async def test_a_waterfall_shows_failed_and_running_spans_and_folds(chromium: Browser) -> None:
    async with inspected(agent=Path(__file__).with_name("traced_agent.py")) as dev:
        page = await opened(chromium, dev, "Invoke")
        await page.fill("Body", "fail")
        await page.click("Send")
        await page.click("Trace")
        spans = ROWS.format("[aria-label=Spans] .listing-row")
        await page.until(f"{spans}.length === 4")
        assert [text for text in await page.run(f"{spans}.map((row) => row.textContent)") if "failed" in text]
        places = await page.run(
            f"{spans}.map((row) => row.querySelector('.bar').getBoundingClientRect()).map((box) =>"
            " [box.left, box.right])"
        )
        for (left, right), (inner_left, inner_right) in pairwise(places):
            assert left - 1 <= inner_left <= inner_right <= right + 1
        await page.run("document.querySelector('[aria-label=Spans]').focus()")
        await page.press("Home", "ArrowDown", "ArrowDown", "ArrowLeft")
        await page.until(f"{spans}.length === 3")
        await page.press("ArrowRight", "ArrowDown")
        await page.until(f"{spans}.length === 4")
        await page.until("document.body.innerText.includes('no <b>weather</b>')")
        await page.click("Invoke")
        await page.fill("Body", "hang")
        await page.click("Send")
        await page.click("Traces")
        rows = ROWS.format("[aria-label=Traces] .listing-row")
        await page.until(f"{rows}.some((row) => row.textContent.includes('running'))")
        await closed(page)


async def test_three_actions_run_side_by_side_and_one_is_cancelled_in_mid_stream(chromium: Browser) -> None:
    async with inspected(agent=ROOT / "samples/10_websocket_actions/main.py") as dev:
        page = await opened(chromium, dev, "Actions")
        await page.click("Connect")
        words = {"one": 180, "two": 2000, "three": 150}
        for name, count in words.items():
            await page.fill("Id", name)
            await page.fill("Payload of the action", json.dumps({"prompt": "word " * count}))
            await page.click("Invoke action")
            await page.until(f"document.body.innerText.includes('{name} begun.')")
        row = "Object.fromEntries([...document.querySelectorAll('#panel-Actions tbody tr')].map((row) =>"
        row += " [row.cells[0].textContent, [row.cells[1].textContent, Number(row.cells[2].textContent)]]))"
        await page.until(
            f"Object.values({row}).every(([state, chunks]) => state === 'running' && chunks > 3)"
        )
        await page.run("document.querySelector('[aria-label=\"Cancel two\"]').focus()")
        before = (await page.run(row))["two"][1]
        await page.until(f"({row}).two[1] > {before}")
        # Whoever is on a button stays there while chunks come.
        assert await page.run("document.activeElement.getAttribute('aria-label')") == "Cancel two"
        await page.press("Enter")
        await page.until(f"({row}).two[0] === 'error: cancelled'")
        await page.until(f"({row}).one[0] === 'done' && ({row}).three[0] === 'done'")
        found = await page.run(row)
        assert found["one"][1] == words["one"] + 9
        assert found["three"][1] == words["three"] + 9
        assert 3 < found["two"][1] < 2000
        await page.click("two")
        await page.until("document.body.innerText.includes('Frames of two')")
        kinds = ROWS.format("[aria-label=Frames] .kind")
        await page.until(f"{kinds}.some((each) => each.textContent === 'cancel_invocation')")
        await page.click("Close the connection")
        await page.until("document.querySelector('#panel-Actions .hint').textContent === 'not open'")
        await closed(page)


async def test_a_long_run_is_polled_and_cancelled_over_a_reload_of_page_and_code(
    chromium: Browser, tmp_path: Path
) -> None:
    agent = tmp_path / "agent.py"
    text = await asyncio.to_thread((ROOT / "samples/02_long_running/main.py").read_text)
    await asyncio.to_thread(agent.write_text, text)
    store = {"AGENTSERVER_STORE": str(tmp_path / "runs.db")}
    async with inspected(agent=agent, environment=store) as dev:
        page = await opened(chromium, dev, "Invoke")
        await page.fill("Body", json.dumps({"topic": "clocks", "chapters": 100, "seconds": 0.3}))
        await page.click("Send")
        await page.until("document.querySelector('.headline').textContent.includes('202')")
        found = await dev.exchange(status=202, end="complete")
        name = json.loads(found["response"]["body"]["text"])["invocation_id"]
        await page.click("Runs")
        await page.click(name)
        steps = "Number(document.body.innerText.match(/Steps seen, (\\d+)/)?.[1])"
        first = await page.until(f"{steps} > 2 && {steps}")
        await page.run("location.reload()")
        await page.until(
            f"document.querySelector('#panel-Runs .headline').textContent === '{name} · in_progress'"
        )
        await page.until(f"{steps} > {first}")
        await asyncio.to_thread(agent.write_text, text.replace("All there is to know", "Everything"))
        await dev.agent_is("running", 2)
        second = await page.run(steps)
        await page.until(f"{steps} > {second} && document.body.innerText.includes('\"recoveries\": 1')")
        await page.click("Follow its events")
        await page.until("document.body.innerText.includes('Everything about clocks')")
        await page.click("Cancel the run")
        await page.until(
            f"document.querySelector('#panel-Runs .headline').textContent === '{name} · cancelled'"
        )
        await closed(page)


async def test_a_run_that_waits_for_a_person_is_signalled_and_what_is_wrong_with_a_signal_is_said(
    chromium: Browser, tmp_path: Path
) -> None:
    agent = ROOT / "samples/18_human_in_the_loop/main.py"
    store = {"AGENTSERVER_STORE": str(tmp_path / "runs.db")}
    async with inspected(agent=agent, environment=store) as dev:
        page = await opened(chromium, dev, "Invoke")
        await page.fill("Body", json.dumps({"item": "clock", "amount": 12.5}))
        await page.click("Send")
        found = await dev.exchange(status=202, end="complete")
        name = json.loads(found["response"]["body"]["text"])["invocation_id"]
        await page.click("Runs")
        await page.click(name)
        steps = ROWS.format("[aria-label=Run] tbody tr")
        headline = "document.querySelector('#panel-Runs .headline').textContent"
        problem = "document.querySelector('form[aria-label=Signal] .error').textContent"
        snapshot = "document.querySelector('[aria-label=Snapshot]').textContent"
        await page.until(f"{steps}.some((row) => row.textContent.includes('find 1done'))")
        await page.fill("Signal", "decision")
        await page.fill("Payload, as JSON", "{approved")
        await page.click("Send the signal")
        await page.until(f"{problem}.includes('JSON')")
        assert not [each for each in (await dev.known())["exchanges"] if each["path"].endswith("/signal")]
        await page.fill("Payload, as JSON", '{"approved": true, "by": "B\u00e4rbel"}')
        await page.click("Send the signal")
        await page.until(f"{headline} === '{name} · completed'")
        await page.until(f"{snapshot}.includes('B\u00e4rbel')")
        # The run is over: that too is said, and not only in the list of exchanges.
        await page.click("Send the signal")
        await page.until(f"{problem}.includes('409')")
        await closed(page)
