"""The page for everybody: axe-core on every tab in three colour schemes, the keyboard alone, 200 % zoom.

axe-core comes from npm into ``build/``: ``make inspector-test`` sees to it where there is npm.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Browser, Page, browser
from tests.inspector.inspected import Inspected, inspected
from tests.servers import ROOT

AXE = ROOT / "build/node_modules/axe-core/axe.min.js"
TABS = ("Invoke", "Stream", "WebSocket", "Actions", "Runs", "Traces", "Log", "Environment", "Contract")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM),
]
VIOLATIONS = """
axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations.map((each) =>
  [each.id, each.nodes.map((node) => node.html.slice(0, 200) + " " + node.failureSummary)]))
"""
ADD_SPACES = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncGenerator[Browser, None]:
    async with browser() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def developed() -> AsyncGenerator[Inspected, None]:
    async with inspected(agent=Path(__file__).with_name("all_agent.py")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, developed: Inspected) -> AsyncGenerator[Page, None]:
    opened = await chromium.page(developed.address, allow_clipboard=True)
    await opened.until("document.querySelector('#agent-state.running')")
    yield opened
    await opened.close()
    assert opened.problems == []


async def emulate(page: Page, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark" if scheme == "dark" else "light"}]
    features += [{"name": "forced-colors", "value": "active"}] if scheme == "forced" else []
    await page.call("Emulation.setEmulatedMedia", features=features)


async def fill_every_tab(page: Page) -> None:
    """Have something of everything to be seen: a refused call, events, frames, actions, a trace, a record."""
    await page.click("Invoke")
    await page.fill("Body", '{"message": "", "times": 9}')
    await page.click("Send")
    await page.until("[...document.querySelectorAll('.fault')].some((each) => each.textContent)")
    await page.click("Copy as curl")
    await page.click("Stream")
    await page.click("The example again")
    await page.click("Send")
    await page.until("document.querySelector('#panel-Stream .timeline .listing-row')")
    await page.click("WebSocket")
    await page.click("Connect")
    await page.until("document.querySelector('#panel-WebSocket .headline')")
    await page.click("Actions")
    await page.click("Connect")
    await page.click("Invoke action")
    await page.until("document.querySelector('#panel-Actions tbody button')")
    await page.run("document.querySelector('#panel-Actions tbody button').click()")
    await page.click("Traces")
    await page.run("document.querySelector('#panel-Traces [aria-label=Traces] [role=listbox]').focus()")
    await page.press("Home")
    await page.until("document.querySelector('[aria-label=Spans] .listing-row')")
    await page.run("document.querySelector('[aria-label=Spans]').focus()")
    await page.press("Home")
    await page.click("Log")
    await page.run("document.querySelector('#panel-Log [role=listbox]').focus()")
    await page.press("Home")
    await page.click("Runs")
    await page.click("Environment")
    await page.until("document.body.innerText.includes('GET /readiness: 200')")
    await page.click("Contract")
    await page.until("document.querySelector('#panel-Contract pre')")


@pytest.mark.skipif(not AXE.is_file(), reason="there is no axe-core in build/: make inspector-test gets it")
async def test_axe_finds_nothing_on_any_tab_in_any_colour_scheme(page: Page) -> None:
    await page.run(await asyncio.to_thread(AXE.read_text) + "; true")
    await fill_every_tab(page)
    found: dict[str, Any] = {}
    for scheme in ("light", "dark", "forced"):
        await emulate(page, scheme)
        for tab in TABS:
            await page.click(tab)
            await page.run(ADD_SPACES)
            if violations := await page.run(VIOLATIONS):
                found[f"{tab}, {scheme}"] = violations
    assert not found, json.dumps(found, indent=1)


async def test_every_tab_holds_at_200_percent_and_names_its_controls(page: Page) -> None:
    await fill_every_tab(page)
    await page.call(
        "Emulation.setDeviceMetricsOverride", width=700, height=500, deviceScaleFactor=2, mobile=False
    )
    for tab in TABS:
        await page.click(tab)
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), tab
        unlabelled = (
            "[...document.querySelectorAll('input, select, textarea')].filter((each) =>"
            " each.checkVisibility() && !each.labels.length && !each.getAttribute('aria-label')).length"
        )
        assert await page.run(unlabelled) == 0, tab


async def test_the_keyboard_alone_does_it_all(page: Page) -> None:
    await page.run("document.querySelector('[role=tab][aria-selected=true]').focus()")
    await page.press("Home")

    async def tab_to(what: str) -> None:
        """Press Tab until the element in focus is *what*."""
        for _ in range(60):
            if await page.run(f"Boolean(document.activeElement?.matches({json.dumps(what)}))"):
                return
            await page.press("Tab")
        raise AssertionError(f"Tab does not lead to {what}")

    # A value is written in the form, sent, refused, and the error is said and stands at its field.
    await page.until("document.querySelector('#panel-Invoke [data-path=\"$.message\"]')")
    await tab_to('#panel-Invoke [data-path="$.times"]')
    await page.press("Enter")
    await page.until("document.activeElement.matches('input[data-path=\"$.times\"]')")
    await page.call("Input.insertText", text="9")
    await page.press("Enter")
    wrong = "document.querySelector('[data-path=\"$.times\"]')"
    await page.until(f"{wrong}.getAttribute('aria-invalid') === 'true'")
    described = (
        f"document.getElementById({wrong}.getAttribute('aria-describedby').split(' ').at(-1)).textContent"
    )
    assert "times" in await page.run(described)
    await page.until("document.querySelector('[role=status]').textContent.startsWith('400, ')")
    # A WebSocket is opened, spoken on and closed.
    await page.run("document.querySelector('[role=tab][aria-selected=true]').focus()")
    await page.press("ArrowRight", "ArrowRight")
    await tab_to("#panel-WebSocket form[aria-label=Connection] button[type=submit]")
    await page.press("Enter")
    await page.until("!document.querySelector('form[aria-label=Message] button[type=submit]').disabled")
    await tab_to("form[aria-label=Message] textarea")
    await page.call("Input.insertText", text='{"action": "ping"}')
    await page.press("Enter", modifiers=2)
    await page.until("document.querySelector('#panel-WebSocket .timeline').textContent.includes('pong')")
    await tab_to("form[aria-label=Close] button[type=submit]")
    await page.press("Enter")
    await page.until(
        "document.querySelector('#panel-WebSocket .headline').textContent.includes('close 1000')"
    )
    # A trace is chosen, and a span of it read.
    await page.run("document.querySelector('[role=tab][aria-selected=true]').focus()")
    await page.press("Home", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowRight")
    await tab_to('#panel-Traces [role=listbox][aria-label="Traces"]')
    await page.press("Home")
    await page.until("document.querySelector('[aria-label=Spans] .listing-row')")
    await tab_to('[role=listbox][aria-label="Spans"]')
    await page.press("Home")
    await page.until("document.querySelector('#panel-Traces .part h3')")
    active = "document.activeElement.getAttribute('aria-activedescendant')"
    assert await page.run(f"document.getElementById({active}).getAttribute('aria-selected')") == "true"
