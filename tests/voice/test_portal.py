"""The sample's portal, and its page in a browser that has a recording for a microphone."""

from __future__ import annotations

import asyncio
import wave
from array import array
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from agentserver.testing import free_port
from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, Page, browser
from tests.servers import ROOT, running
from tests.voice.caller import SECOND, spoken, words

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLE = ROOT / "samples" / "12_voice_pipecat"
RATE = 16_000
LOUD = 1000  # of 32767
# What the microphone hears and what the speaker plays, on one clock.
RECORD = """(() => {
  const connect = AudioNode.prototype.connect;
  window.recorded = [[], []];
  let merger = null;
  AudioNode.prototype.connect = function (to, ...rest) {
    const channel = this instanceof MediaStreamAudioSourceNode ? 0 : 1;
    if (!merger) {
      merger = this.context.createChannelMerger(2);
      const recorder = this.context.createScriptProcessor(1024, 2, 1);
      recorder.onaudioprocess = ({ inputBuffer }) => {
        for (const index of [0, 1]) {
          for (const sample of inputBuffer.getChannelData(index)) {
            recorded[index].push(Math.round(Math.max(-1, Math.min(1, sample)) * 32767));
          }
        }
      };
      connect.call(merger, recorder);
      connect.call(recorder, this.context.destination);
    }
    connect.call(this, merger, 0, channel);
    return connect.call(this, to, ...rest);
  };
})()"""


@asynccontextmanager
async def portal_of(agent: str, program: Path = SAMPLE / "portal.py") -> AsyncGenerator[str, None]:
    """The address of the portal *program*, in front of the agent at *agent*."""
    port = free_port()
    variables = {"AGENT_URL": agent, "PORTAL_PORT": str(port)}
    async with running(program, environment=variables, wait=False):
        async with aiohttp.ClientSession() as client:
            while True:
                try:
                    async with client.get(f"http://localhost:{port}/"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        yield f"http://localhost:{port}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def portal() -> AsyncGenerator[str, None]:
    async with running(SAMPLE / "main.py") as server, portal_of(server.url) as url:
        yield url


async def test_the_portal_passes_frames_and_the_end_on(portal: str) -> None:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{portal}/voice?session=of-a-page", origin=portal) as page,
    ):
        assert (await page.receive_json())["session_id"] == "of-a-page"
        await page.send_str("what?")
        assert (await page.receive_json())["type"] == "error"
        await page.send_json({"type": "end"})
        await page.receive()
        assert page.close_code == 1000


async def test_a_page_of_somebody_else_is_refused(portal: str) -> None:
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(f"{portal}/voice?session=of-a-page", origin="https://other.example")
    assert refused.value.status == 403


async def test_a_page_learns_that_there_is_no_agent() -> None:
    async with (
        portal_of(f"http://127.0.0.1:{free_port()}") as url,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/voice?session=of-a-page", origin=url) as page,
    ):
        await page.receive()
        assert page.close_code == 1011


@asynccontextmanager
async def calling_page(
    portal: str, microphone: bytes, file: Path, record: str = RECORD
) -> AsyncGenerator[Page, None]:
    """The page, in a call; it hears *microphone*, which is written to *file* for that."""
    with wave.open(str(file), "wb") as recording:
        recording.setparams((1, 2, RATE, 0, "NONE", ""))
        recording.writeframes(microphone)
    options = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={file}%noloop",
    )
    async with browser(*options) as chromium:
        page = await chromium.page(f"{portal}/")
        await page.until("typeof document.querySelector('#call')?.onclick === 'function'")
        await page.run(record)
        await page.click("Call")
        yield page
        assert page.problems == []


async def recorded(page: Page) -> tuple[array[int], array[int]]:
    """What the microphone of *page* has heard so far, and what its speaker has played."""
    microphone, speaker = await page.run("recorded")
    return array("h", microphone), array("h", speaker)


def loud(samples: array[int], start: int = 0) -> int:
    """Where *samples* become loud, from *start* on."""
    return next(place for place in range(start, len(samples)) if abs(samples[place]) > LOUD)


@pytest.mark.alone
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
async def test_a_browser_says_something_and_hears_the_answer(portal: str, tmp_path: Path) -> None:
    question = await asyncio.to_thread(spoken, "how is the weather in rome")
    async with calling_page(portal, bytes(SECOND) + question, tmp_path / "question.wav") as page:
        await page.until("said.textContent.includes('Agent: It is sunny in Rome.')")
        await page.until("document.querySelector('#state').textContent === 'agent is silent'")
        await asyncio.sleep(0.3)  # what the speaker has not played yet
        _, speaker = await recorded(page)
        assert "You: how is the weather in rome" in await page.text()
    answer = speaker[loud(speaker) :].tobytes()
    assert words(answer, "it is sunny in rome", "i am fine", "i do not understand") == "it is sunny in rome"


@pytest.mark.alone
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
async def test_a_browser_is_silent_300_ms_after_its_user_interrupts(
    portal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    story, stop = [await asyncio.to_thread(spoken, text) for text in ("tell me a story", "please stop")]
    before = bytes(SECOND) + story + bytes(3 * SECOND)
    async with calling_page(portal, before + stop, tmp_path / "stop.wav") as page:
        await page.until("said.textContent.includes('Agent: Good.')")
        microphone, speaker = await recorded(page)
    # The second time that the microphone hears something is in the middle of the answer.
    spoke = loud(microphone, loud(speaker) + RATE)
    played = [place for place in range(spoke, spoke + RATE // 2) if abs(speaker[place]) > LOUD]
    assert played
    seconds = (played[-1] - spoke) / RATE
    with capsys.disabled():
        print(f"\nin the browser, from the first sound of speech to silence: {seconds * 1000:.0f} ms")
    assert seconds < 0.3
