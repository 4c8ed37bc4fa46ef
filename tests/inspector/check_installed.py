"""The inspector from wheel and from sdist, in an empty environment without Node; ``make inspector-test``."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import clean_environment
from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, browser
from tests.inspector.inspected import inspected
from tests.servers import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)]

AGENT = """
from aiohttp import web
from agentserver import InvocationHandler, InvocationsServer

class Echo(InvocationHandler):
    async def handle(self, request, context):
        return web.Response(body=await request.read())

if __name__ == "__main__":
    InvocationsServer.run(Echo)
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both."""
    where = tmp_path_factory.mktemp("distributions")
    python = environment(where / "tools")
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", str(where), str(ROOT))
    return where


def environment(where: Path) -> str:
    """Make an empty environment and return its interpreter."""
    run(sys.executable, "-m", "venv", str(where))
    return str(where / "bin" / "python")


def run(*command: str) -> str:
    # Without the path that keeps tests on this machine: pip asks the index.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


def digests(page: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(page.iterdir())}


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz"])
async def test_the_page_is_served_from_what_is_installed_and_asks_nobody_else(
    distributions: Path, tmp_path: Path, pattern: str
) -> None:
    (distribution,) = await asyncio.to_thread(lambda: list(distributions.glob(pattern)))
    python = await asyncio.to_thread(environment, tmp_path / "venv")
    await asyncio.to_thread(run, python, "-m", "pip", "install", "--quiet", f"{distribution}[cli]")
    pages = "lib/python*/site-packages/agentserver/inspector/page"
    (installed,) = await asyncio.to_thread(lambda: list((tmp_path / "venv").glob(pages)))
    assert digests(installed) == digests(ROOT / "agentserver/inspector/page")
    agent = tmp_path / "agent.py"
    await asyncio.to_thread(agent.write_text, AGENT)
    variables = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
    variables["PATH"] = str(tmp_path / "venv" / "bin")  # no Node, and nothing else
    async with inspected(agent=agent, python=python, environment=variables) as dev, browser() as chromium:
        page = await chromium.page(dev.address)
        await page.until("document.querySelector('#agent-state.running')")
        await page.click("Send")
        await page.until("document.querySelector('.headline').textContent.includes('200 OK')")
        for tab in await page.run(
            "[...document.querySelectorAll('[role=tab]')].map((each) => each.textContent)"
        ):
            await page.click(tab)
        assert {address.split("/")[2] for address in page.asked} == {f"127.0.0.1:{dev.port}"}
        assert page.problems == []
        connections = await asyncio.to_thread(others, dev.process.pid)
    assert connections == []


def others(parent: int) -> list[str]:
    """The connections of a process and its children to anything but loopback."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    inodes = set[str]()
    for pid in (str(parent), *children):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(os.readlink(descriptor))
            except OSError:
                continue
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = [line[2] for line in lines if f"socket:[{line[9]}]" in inodes]
    return [address for address in ours if not address.startswith(("0100007F", "00000000"))]
