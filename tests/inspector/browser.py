"""Debian's Chromium without a window, driven over its own protocol (https://chromedevtools.github.io)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from agentserver.testing import until
from tests.servers import DEADLINE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NO_CHROMIUM = "there is no Chromium on this machine: apt-get install chromium"

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1400,1000",
)
_KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, "\t"),
    "End": (35, ""),
    "Home": (36, ""),
    "ArrowLeft": (37, ""),
    "ArrowUp": (38, ""),
    "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
    " ": (32, " "),
}


class ScriptError(AssertionError):
    """An expression raised an error in the page."""


class Page:
    """One tab of the browser.

    Attributes:
        asked: The address of each request that it made.
        problems: What its console, its security policy and its dialogs said.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reading = asyncio.create_task(self._read())
        self.asked: list[str] = []
        self.sent_headers: list[dict[str, str]] = []
        self.problems: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something and return its answer."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await asyncio.wait_for(answer, DEADLINE)

    async def open(self, url: str) -> None:
        """Go to *url*."""
        for domain in ("Page", "Network", "Runtime", "Log", "Audits"):
            await self.call(f"{domain}.enable")
        await self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        await self.call("Page.navigate", url=url)

    async def run(self, expression: str) -> Any:
        """Return what *expression* is, JSON alone; a promise is awaited."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise ScriptError(json.dumps(answer["exceptionDetails"], indent=1)[:2000])
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until *expression* is true, and return it; an error is false."""
        found: Any = None

        async def holds() -> bool:
            nonlocal found
            with suppress(ScriptError):
                found = await self.run(expression)
            return found not in (None, False, "", 0)  # an element arrives as an empty object

        end = asyncio.get_running_loop().time() + DEADLINE
        while not await holds():
            if asyncio.get_running_loop().time() > end:
                raise AssertionError(f"not true on the page: {expression}\n{await self.text()}")
            await asyncio.sleep(0.05)
        return found

    async def click(self, text: str) -> None:
        """Click the visible button, tab or summary with that text."""
        await self.until(
            f"(() => {{ const found = {_FIND}.find((each) => each.textContent.trim() === {json.dumps(text)});"
            " if (!found || found.disabled) return false; found.click(); return true; })()"
        )

    async def fill(self, label: str, text: str) -> None:
        """Put *text* in the visible control with that label."""
        await self.until(
            "(() => { const label = [...document.querySelectorAll('label')].find((each) =>"
            f" each.checkVisibility() && each.textContent.trim().startsWith({json.dumps(label)}));"
            " if (!label) return false;"
            " const control = label.control; control.focus();"
            f" control.value = {json.dumps(text)};"
            " control.dispatchEvent(new Event('input', {bubbles: true}));"
            " control.dispatchEvent(new Event('change', {bubbles: true})); return true; })()"
        )

    async def press(self, *keys: str, modifiers: int = 0) -> None:
        """Press keys, one after the other; *modifiers* has 2 for Control and 8 for Shift."""
        for key in keys:
            code, text = _KEYS.get(key, (ord(key[0].upper()), key))
            shared = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
            await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **shared)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **shared)

    async def text(self) -> str:
        """What is to be read on the page."""
        return str(await self.run("document.body.innerText"))

    async def picture(self, path: Path) -> None:
        """Save what it looks like, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(answer["data"]))

    async def close(self) -> None:
        """Close it: a browser keeps six connections to a server, and each page of the inspector has one."""
        if self._socket.closed:
            return
        with suppress(ScriptError, asyncio.TimeoutError):
            await self.call("Page.close")
        self._reading.cancel()
        await self._socket.close()

    async def _read(self) -> None:
        async for message in self._socket:
            event = json.loads(message.data)
            if "id" in event:
                answer = self._answers.pop(event["id"])
                if "error" in event and not answer.done():
                    answer.set_exception(ScriptError(str(event["error"])))
                elif not answer.done():
                    answer.set_result(event["result"])
            else:
                self._note(event["method"], event["params"])

    def _note(self, method: str, about: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
            self.sent_headers.append(about["request"]["headers"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(f"exception: {json.dumps(about['exceptionDetails'])[:1000]}")
        elif method == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.problems.append(f"log: {about['entry']['text']} {about['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.problems.append(f"dialog: {about['message']}")
        elif method == "Audits.issueAdded":
            self.problems.append(f"issue: {json.dumps(about['issue'])[:1000]}")


_FIND = (
    "[...document.querySelectorAll('button, [role=tab], summary')].filter((each) => each.checkVisibility())"
)


class Browser:
    """A running browser with a profile of its own."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port
        self._pages: list[Page] = []

    async def page(self, url: str, *, allow_clipboard: bool = False) -> Page:
        """Open *url* in a new tab."""
        async with self._session.put(f"http://127.0.0.1:{self._port}/json/new?about:blank") as answer:
            found = await answer.json()
        socket = await self._session.ws_connect(found["webSocketDebuggerUrl"], max_msg_size=0)
        page = Page(socket)
        self._pages.append(page)
        if allow_clipboard:
            await page.call(
                "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
            )
        await page.open(url)
        return page

    async def close(self) -> None:
        """Close its tabs."""
        for page in self._pages:
            await page.close()


@asynccontextmanager
async def browser(*options: str) -> AsyncGenerator[Browser, None]:
    """Start Chromium with further *options*, and end it."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_OPTIONS,
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            *options,
            f"--user-data-dir={profile}",
            "about:blank",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile, "DevToolsActivePort"))
            async with aiohttp.ClientSession() as session:
                made = Browser(session, port)
                try:
                    yield made
                finally:
                    await made.close()
        finally:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), DEADLINE)
            except asyncio.TimeoutError:
                process.kill()
                await process.wait()


async def _port(file: Path) -> int:
    """Wait until the browser has written where it listens."""
    lines: list[str] = []

    def is_written() -> bool:
        with suppress(FileNotFoundError):
            lines[:] = file.read_text().splitlines()
        return len(lines) == 2

    await until(is_written, timeout=DEADLINE)
    return int(lines[0])
