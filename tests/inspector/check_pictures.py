"""Makes the pictures of docs/inspector.md; ``make inspector-pictures``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Page, browser
from tests.inspector.inspected import inspected
from tests.servers import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)]

PLACE = ROOT / "docs/static"
AGENT = Path(__file__).with_name("all_agent.py")


async def test_the_pictures_are_made() -> None:
    async with browser() as chromium, inspected(agent=AGENT) as dev:
        page = await chromium.page(dev.address)
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=1280, height=760, deviceScaleFactor=1, mobile=False
        )
        await page.until("document.querySelector('#agent-state.running')")
        # What names this machine is no part of the picture.
        await page.run("document.querySelector('.target').textContent = 'guide.py'")
        await page.until("document.querySelector('#panel-Invoke .form')?.childElementCount")
        await page.click("Add times")
        await page.fill("times", "9")
        await page.click("Send")
        await page.until("[...document.querySelectorAll('.fault')].some((each) => each.textContent)")
        await take(page, "form")
        await page.click("The example again")
        await page.click("Stream")
        await page.click("Send")
        await page.until("document.querySelector('#panel-Stream .headline')?.textContent.includes('200')")
        kinds = "[...document.querySelectorAll('#panel-Stream .timeline .kind')]"
        await page.until(f"{kinds}.filter((each) => each.textContent === 'delta').length === 4")
        await take(page, "stream")
        await page.click("Trace")
        await page.until("document.querySelectorAll('[aria-label=Spans] .listing-row').length === 3")
        await page.run("document.querySelector('[aria-label=Spans]').focus()")
        await page.press("Home", "ArrowDown")
        await take(page, "trace")
        await page.click("Actions")
        await page.click("Connect")
        for name in ("first", "second"):
            await page.fill("Id", name)
            await page.fill("Payload of the action", json.dumps({"place": name}))
            await page.click("Invoke action")
            rows = "[...document.querySelectorAll('#panel-Actions tr')]"
            await page.until(f"{rows}.some((row) => row.textContent.includes('{name}done'))")
        await page.click("second")
        await take(page, "actions")
        await page.close()


async def take(page: Page, name: str) -> None:
    await page.run("new Promise((shown) => requestAnimationFrame(() => requestAnimationFrame(shown)))")
    await page.picture(PLACE / f"inspector-{name}.png")
