"""The page, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from tests.inspector.agent import HOSTILE
from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Browser, Page, browser
from tests.inspector.inspected import Inspected, inspected

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM),
]

HEADLINE = "document.querySelector('[role=tabpanel]:not([hidden]) .headline')?.textContent ?? ''"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncGenerator[Browser, None]:
    async with browser("--host-resolver-rules=MAP evil.test 127.0.0.1") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, dev: Inspected) -> AsyncGenerator[Page, None]:
    opened = await chromium.page(dev.address, allow_clipboard=True)
    await opened.until("document.querySelector('#agent-state.running')")
    yield opened
    await opened.close()
    assert opened.problems == []
    assert {address.split("/")[2] for address in opened.asked if not address.startswith("blob:")} == {
        f"127.0.0.1:{dev.port}"
    }


async def test_the_token_leaves_the_address_and_a_reload_keeps_it(page: Page, dev: Inspected) -> None:
    assert await page.run("location.href") == f"{dev.origin}/"
    await page.run("location.reload()")
    await page.until("document.querySelector('#agent-state.running')")
    assert dev.token not in await page.run(
        "JSON.stringify([location.href, document.referrer, history.state])"
    )
    assert not any(dev.token in address for address in page.asked)
    assert not any(dev.token in headers.get("Referer", "") for headers in page.sent_headers)


async def test_without_the_token_the_page_says_what_to_open(chromium: Browser, dev: Inspected) -> None:
    page = await chromium.page(dev.origin)
    await page.until("document.body.innerText.includes(\"open the address that 'agentserver dev' printed\")")
    await page.close()


async def test_a_call_is_sent_and_its_answer_shown(page: Page) -> None:
    await page.fill("Body", '{"text": "hällo", "number": 12345678901234567890, "one": 1.0}')
    await page.click("Send")
    await page.until(f"({HEADLINE}).startsWith('POST /invocations · 200 OK · first')")
    assert await page.until("document.querySelector('pre[aria-label=\"Response body\"]')?.textContent")
    for words in ('"text": "hällo"', '"number": 12345678901234567890', '"one": 1.0'):
        assert words in await page.text()
    await page.click("Copy as curl")
    await page.until("document.querySelector('.copied').value.startsWith('curl ')")
    assert "application/json" in await page.run("navigator.clipboard.readText()")
    await page.click("Replay")
    await page.until("document.body.innerText.includes('Sent again.')")


async def test_a_call_of_another_client_appears_and_is_filtered(page: Page, dev: Inspected) -> None:
    await dev.invoke("from elsewhere", **{"user-agent": "elsewhere"})
    await page.until("document.querySelector('.maker') && document.body.innerText.includes('client')")
    await page.fill("Filter", "nothing like that")
    await page.until("document.body.innerText.includes('Requests, 0')")


async def test_events_of_a_stream_are_listed_with_their_times(page: Page) -> None:
    await page.click("Stream")
    await page.fill("Body", "events 20")
    await page.click("Send")
    await page.until(f"({HEADLINE}).includes('200 OK')")
    rows = "[...document.querySelectorAll('[role=tabpanel]:not([hidden]) .timeline .listing-row .text')]"
    await page.until(f"{rows}.some((row) => row.textContent === 'id 19 event 19')")
    await page.fill("Filter", "")
    await page.run(
        "(() => { const field = document.querySelector("
        "'[role=tabpanel]:not([hidden]) .timeline input[type=search]');"
        " field.value = 'token'; field.dispatchEvent(new Event('input')); })()"
    )
    await page.until("document.body.innerText.includes('Timeline, 20 of ')")


async def test_a_websocket_is_driven_and_its_close_is_shown(page: Page) -> None:
    await page.click("WebSocket")
    await page.click("Connect")
    send = "document.querySelector('form[aria-label=Message] button[type=submit]')"
    await page.until(f"{send}.disabled === false")
    await page.fill("Payload", "zz")
    await page.run("document.querySelector('form[aria-label=Message] input[type=checkbox]').click()")
    await page.run(f"{send}.click()")
    await page.until("document.body.innerText.includes('That is not hexadecimal')")
    await page.fill("Payload", "00 ff")
    await page.fill("Kind", "binary")
    await page.run(f"{send}.click()")
    rows = "[...document.querySelectorAll('[role=tabpanel]:not([hidden]) .timeline .listing-row')]"
    await page.until(f"{rows}.filter((row) => row.textContent.includes('00 ff')).length === 2")
    await page.fill("Reason", "enough")
    await page.fill("Code", "4002")
    await page.click("Close")
    await page.until(f"({HEADLINE}).includes('close 4002 \"enough\" by the client')")


async def test_what_a_hostile_agent_says_is_text_and_nothing_else(page: Page) -> None:
    await page.click("Invoke")
    await page.fill("Body", "hostile")
    await page.click("Send")
    await page.until(f"({HEADLINE}).includes('200 OK')")
    await page.until("document.body.innerText.includes('Timeline, ')")
    await page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    await page.until(
        "document.querySelector('pre[aria-label=\"Response body\"]').textContent.includes('alert(1)')"
    )
    assert HOSTILE[:20] in await page.text()
    assert await page.run("document.querySelectorAll('img, b, body script, iframe').length") == 0


async def test_html_in_headers_bodies_and_close_reasons_is_text_too(page: Page) -> None:
    await page.click("Invoke")
    await page.fill("Body", "headers")
    await page.click("Send")
    await page.until(f"({HEADLINE}).includes('200 OK')")
    await page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    await page.until(
        "[...document.querySelectorAll('dd')].some((each) => each.textContent.includes('alert(2)'))"
    )
    await page.click("WebSocket")
    await page.click("Connect")
    await page.fill("Payload", "close 4001 <b>bye</b><script>alert(3)</script>")
    send = "document.querySelector('form[aria-label=Message] button[type=submit]')"
    await page.until(f"{send}.disabled === false && ({send}.click(), true)")
    await page.until(f"({HEADLINE}).includes('<b>bye</b>')")
    assert await page.run("document.querySelectorAll('img, b, body script, iframe').length") == 0


async def test_a_list_that_is_paused_stays_as_it_is_until_it_goes_on(page: Page, dev: Inspected) -> None:
    await page.click("Invoke")
    count = "Number(document.body.innerText.match(/Requests, (\\d+)/)[1])"
    before = await page.run(count)
    pause = (
        "[...document.querySelectorAll('#panel-Invoke label')].find((each) => each.textContent === ' Pause')"
    )
    await page.run(f"{pause}.control.click()")
    await dev.invoke("paused")
    await dev.exchange(sent=6, end="complete")
    await asyncio.sleep(0.3)  # in which the page is told of it
    assert await page.run(count) == before
    await page.run(f"{pause}.control.click()")
    await page.until(f"{count} === {before + 1}")


async def test_the_log_the_environment_and_the_documents_are_shown(page: Page, dev: Inspected) -> None:
    await dev.invoke("log something to find")
    await page.click("Log")
    await page.fill("Filter", "something to find")
    await page.until("document.body.innerText.includes('Log, 1 record')")
    await page.click("Environment")
    await page.until("document.body.innerText.includes('GET /readiness: 200')")
    assert "AGENTSERVER_LOG_LEVEL" in await page.text()
    await page.click("Contract")
    await page.until('document.body.innerText.includes(\'"title": "Developed"\')')


async def test_the_keyboard_alone_sends_a_call_and_reads_its_answer(page: Page) -> None:
    await page.run("document.querySelector('[role=tab][aria-selected=true]').focus()")
    await page.press("ArrowRight", "ArrowLeft", "Home")
    assert await page.run("document.activeElement.id") == "tab-Invoke"
    await page.press("Tab", "Tab", "Tab", "Tab")
    assert await page.run("document.activeElement.labels[0].textContent") == "Body"
    await page.press("x")
    await page.press("Enter", modifiers=2)
    await page.until(f"({HEADLINE}).includes('200 OK')")
    await page.until("document.querySelector('[role=status]').textContent.startsWith('200, ')")
    await page.run("document.querySelector('.timeline [role=listbox]').focus()")
    await page.press("Home", "ArrowDown")
    await page.until("document.body.innerText.includes('client · body · +')")
    active = "document.activeElement.getAttribute('aria-activedescendant')"
    assert await page.run(f"document.getElementById({active}).getAttribute('aria-selected')") == "true"


async def test_the_page_outlives_a_kill_and_starts_the_agent_again(chromium: Browser) -> None:
    async with inspected() as dev:
        page = await chromium.page(dev.address)
        await page.click("Environment")
        await page.click("kill -9")
        await page.until("document.querySelector('#agent-state').textContent === '■ ended, signal 9'")
        await page.click("Reload")
        await page.until("document.querySelector('#agent-state').textContent.endsWith('start 2')")
        await page.until("document.body.innerText.includes('GET /readiness: 200')")


EVIL = """<!doctype html><title>evil</title><script>
const target = "http://127.0.0.1:PORT", named = location.protocol + "//" + location.hostname + ":PORT";
const tried = async (work) => { try { return String(await work()) } catch (error) { return "refused" } };
const socket = (url) => new Promise((open, fail) => {
  const made = new WebSocket(url); made.onopen = () => open("open"); made.onerror = fail; });
const element = (name, url) => new Promise((load, fail) => {
  const made = document.createElement(name); made.onload = () => load("loaded"); made.onerror = fail;
  made.src = url; document.body.append(made); });
const simple = {method: "POST", mode: "no-cors", body: "{}"}, json = {method: "POST", body: "{}"};
window.results = (async () => Object.fromEntries(await Promise.all(Object.entries({
  read: () => fetch(target + "/api/environment").then((answer) => answer.text()),
  named: () => fetch(named + "/").then((answer) => answer.text()),
  token: () => fetch(target + "/api/environment", {headers: {"x-inspector-token": "TOKEN"}}),
  json: () => fetch(target + "/api/clear", {...json, headers: {"content-type": "application/json"}}),
  socket: () => socket(target.replace("http", "ws") + "/api/events"),
  script: () => element("script", target + "/dom.js"),
  image: () => element("img", target + "/icon.svg"),
}).map(async ([name, work]) => [name, await tried(work)]))))();
fetch(target + "/api/clear", simple).catch(() => {});
const form = document.createElement("form"); form.method = "post"; form.action = target + "/api/clear";
form.target = "frame"; form.enctype = "text/plain";
const frame = document.createElement("iframe"); frame.name = "frame";
document.documentElement.append(form, frame);
setTimeout(() => { form.submit(); const other = document.createElement("iframe"); other.src = target + "/";
  document.documentElement.append(other); }, 100);
</script><body></body>"""


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1"])
async def test_another_page_reads_nothing_and_does_nothing(
    chromium: Browser, dev: Inspected, host: str
) -> None:
    """One whose name was bound anew to this machine, and one on another port of it; both know the token."""
    size = 100 if host == "evil.test" else 101
    await dev.invoke("x" * size)
    await dev.exchange(sent=size, end="complete")
    kept = len((await dev.known())["exchanges"])
    text = EVIL.replace("PORT", str(dev.port)).replace("TOKEN", dev.token)

    async def serve(request: web.BaseRequest) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        page = await chromium.page(f"http://{host}:{port}/")
        await page.until("window.results !== undefined")
        assert set((await page.run("window.results")).values()) == {"refused"}
        await asyncio.sleep(0.5)  # what the form would have done, had it been let
        frames = (await page.call("Page.getFrameTree"))["frameTree"].get("childFrames", [])
        assert not any(frame["frame"]["url"].startswith(dev.origin) for frame in frames)
        await page.close()
    finally:
        await runner.cleanup()
    assert len((await dev.known())["exchanges"]) == kept


@pytest.mark.parametrize("scheme", ["light", "dark", "forced"])
async def test_every_tab_holds_at_half_the_width_in_every_colour_scheme(
    page: Page, scheme: str, tmp_path: Path
) -> None:
    features = [{"name": "prefers-color-scheme", "value": "dark" if scheme == "dark" else "light"}]
    features += [{"name": "forced-colors", "value": "active"}] if scheme == "forced" else []
    await page.call("Emulation.setEmulatedMedia", features=features)
    await page.call(
        "Emulation.setDeviceMetricsOverride", width=700, height=500, deviceScaleFactor=2, mobile=False
    )
    for tab in ("Invoke", "Stream", "WebSocket", "Log", "Environment", "Contract"):
        await page.click(tab)
        await page.until(f"document.querySelector('#panel-{tab}').childElementCount > 0")
        assert await page.run("document.documentElement.scrollWidth <= innerWidth"), tab
        unlabelled = (
            "[...document.querySelectorAll('input, select, textarea')].filter((each) =>"
            " each.checkVisibility() && !each.labels.length && !each.getAttribute('aria-label')).length"
        )
        assert await page.run(unlabelled) == 0, tab
