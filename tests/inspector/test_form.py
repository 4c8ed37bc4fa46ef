"""The form of a body, made of the agent's document, in a real browser."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentserver._typed.shapes import is_array, is_object
from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Browser, Page, browser
from tests.inspector.inspected import Inspected, inspected
from tests.typed.contracts import CONTRACTS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM),
]

AGENT = """
from agentserver import InvocationsServer
from tests.typed.contracts import agent_of

if __name__ == "__main__":
    InvocationsServer.run(agent_of({name!r}))
"""
BODY = "document.querySelector('#panel-Invoke textarea[rows=\"10\"]').value"
HEADLINE = "(document.querySelector('#panel-Invoke .headline')?.textContent ?? '')"
FAULTS = (
    "[...document.querySelectorAll('#panel-Invoke .fault')].filter((each) => each.textContent)"
    ".map((each) => [(each.parentElement.matches('[data-path]') ? each.parentElement"
    " : each.parentElement.querySelector('[data-path]')).dataset.path, each.textContent])"
)


class Contracts:
    """The page, and an agent that can be given another contract."""

    def __init__(self, page: Page, dev: Inspected, agent: Path) -> None:
        self.page = page
        self.dev = dev
        self.agent = agent
        self.life = 1

    async def take(self, name: str) -> None:
        """Give the agent the contract *name* and wait until the page has its form."""
        text = AGENT.format(name=name)
        if text != self.agent.read_text():
            self.agent.write_text(text)
            self.life += 1
        await self.dev.agent_is("running", self.life)
        found = await self.dev.get("/api/documents")
        while found["problem"]:  # it starts
            found = await self.dev.get("/api/documents")
        document = json.loads(found["documents"][0]["text"])
        content = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"]
        example = json.dumps(content["example"])
        await self.page.until(f"JSON.stringify(JSON.parse({BODY})) === JSON.stringify({example})")
        await self.page.until("document.querySelector('#panel-Invoke .form').childElementCount > 0")

    async def send(self) -> dict[str, Any]:
        """Send what stands there; the answer's status, and its body if it is JSON."""
        last = max((each["id"] for each in (await self.dev.known())["exchanges"]), default=0)
        await self.page.click("Send")
        found = await self.dev.exchange(id=last + 1, end="complete")
        await self.page.until(f"{HEADLINE}.startsWith('POST /invocations · {found['status']} ')")
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncGenerator[Browser, None]:
    async with browser() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def contracts(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Contracts, None]:
    agent = tmp_path_factory.mktemp("contracts") / "agent.py"
    agent.write_text(AGENT.format(name="plain"))
    async with inspected(agent=agent) as dev:
        page = await chromium.page(dev.address)
        await page.until("document.querySelector('#agent-state.running')")
        yield Contracts(page, dev, agent)
        await page.close()
        assert page.problems == []


@pytest.mark.parametrize("name", CONTRACTS)
async def test_the_untouched_form_is_accepted_and_each_error_stands_at_its_field(
    contracts: Contracts, name: str
) -> None:
    page = contracts.page
    await contracts.take(name)
    assert (await contracts.send())["status"] == 200
    assert await page.run(FAULTS) == []
    assert "none of these" not in await page.text()
    example = json.loads(await page.run(BODY))
    for wrong in wrongs(example):
        await page.fill("Body", json.dumps(wrong))
        found = await contracts.send()
        if found["status"] == 200:  # a part of any type
            continue
        error = json.loads(found["response"]["body"]["text"])["error"]
        said = json.dumps(error["message"])
        ((path, words),) = await page.until(f"({FAULTS})[0]?.[1].includes({said}) && {FAULTS}")
        assert path == error["target"] or (error["target"].startswith(path) and error["target"] in words)
        await page.until(f"document.querySelector('[role=status]').textContent.includes({said})")
    await page.click("The example again")
    assert (await contracts.send())["status"] == 200
    await page.until(f"({FAULTS}).length === 0")


def wrongs(value: Any) -> Iterator[Any]:
    """*value*, each time with one of its parts of a type that nobody takes."""
    if is_object(value):
        for name, part in value.items():
            yield from ({**value, name: wrong} for wrong in wrongs(part))
        yield [True]
    elif is_array(value):
        for index, part in enumerate(value[:1]):
            yield from ([*value[:index], wrong, *value[index + 1 :]] for wrong in wrongs(part))
        yield {"no": "list"}
    else:
        yield {"no": "scalar"}


async def test_the_form_and_its_text_are_one_value(contracts: Contracts) -> None:
    page = contracts.page
    await contracts.take("plain")
    await page.click("The example again")
    await page.fill("message", "x")
    await page.press("y", "z")
    assert json.loads(await page.run(BODY)) == {"message": "xyz"}
    await page.fill("message", 'h\u00e4 "quoted"\nline')
    await page.click("Add times")
    assert await page.until("document.activeElement.dataset.path") == "$.times"
    await page.fill("times", "2")
    await page.click("Add language")
    await page.fill("language", '"fr"')
    assert json.loads(await page.run(BODY)) == {
        "message": 'h\u00e4 "quoted"\nline',
        "times": 2,
        "language": "fr",
    }
    await page.click("Remove language")
    await page.fill("times", "4")
    error = json.loads((await contracts.send())["response"]["body"]["text"])["error"]
    assert error["target"] == "$.times"
    await page.until(
        "document.querySelector('[data-path=\"$.times\"]').getAttribute('aria-invalid') === 'true'"
    )
    # A number keeps the digits that it was written with.
    await page.fill("Body", '{"message": "x", "times": 12345678901234567890, "more": 1.0}')
    await page.fill("message", "y")
    assert await page.run(BODY) == '{\n  "message": "y",\n  "times": 12345678901234567890,\n  "more": 1.0\n}'
    await page.fill("Body", "{")
    await page.until("document.body.innerText.includes('The body is not JSON')")
    await page.click("The example again")


async def test_lists_kinds_and_recursion_are_edited(contracts: Contracts) -> None:
    page = contracts.page
    await contracts.take("recursive")
    await page.click("The example again")
    await page.click("Add children")
    for name in ("one", "two"):
        await page.click("Add to children")
        index = await page.run(f"JSON.parse({BODY}).children.length - 1")
        field = f"document.querySelector('[data-path=\"$.children[{index}].name\"]')"
        await page.until(field)
        await page.run(f"{field}.value = '{name}'; {field}.dispatchEvent(new Event('input'))")
    await page.click("Move children 2 up")
    await page.click("Remove children 2")
    assert [child["name"] for child in json.loads(await page.run(BODY))["children"]] == ["two"]
    assert (await contracts.send())["status"] == 200
