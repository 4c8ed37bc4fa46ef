"""The page whose sound goes over WebRTC, in a browser that has a recording for a microphone."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import pytest

from tests.inspector.browser import CHROMIUM, NO_CHROMIUM
from tests.servers import ROOT, running
from tests.voice.caller import SECOND, spoken, words
from tests.voice.test_portal import calling_page, loud, portal_of

pytestmark = pytest.mark.asyncio

SAMPLE = ROOT / "samples" / "13_voice_webrtc"
AGENT = (ROOT / "tests" / "voice" / "at_home.py", SAMPLE / "main.py")
# What comes over the peer connection, as soon as there is one.
RECORD = """(() => {
  window.recorded = [];
  const waiting = setInterval(() => {
    const { srcObject } = document.querySelector("audio") ?? {};
    if (!srcObject) return;
    clearInterval(waiting);
    const sound = new AudioContext({ sampleRate: 16000 });
    const recorder = sound.createScriptProcessor(1024, 1, 1);
    recorder.onaudioprocess = ({ inputBuffer }) => {
      for (const sample of inputBuffer.getChannelData(0)) recorded.push(Math.round(sample * 32767));
    };
    sound.createMediaStreamSource(srcObject).connect(recorder);
    recorder.connect(sound.destination);
  }, 20);
})()"""


@pytest.mark.alone
@pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
async def test_a_browser_says_something_and_hears_the_answer_over_webrtc(tmp_path: Path) -> None:
    question = await asyncio.to_thread(spoken, "how is the weather in rome")
    async with (
        running(*AGENT) as server,
        portal_of(server.url, SAMPLE / "page.py") as url,
        calling_page(url, bytes(2 * SECOND) + question, tmp_path / "question.wav", RECORD) as page,
    ):
        await page.until("said.textContent.includes('Agent: It is sunny in Rome.')")
        await page.until("document.querySelector('#state').textContent === 'agent is silent'")
        await asyncio.sleep(0.3)  # what the speaker has not played yet
        assert "You: how is the weather in rome" in await page.text()
        heard = array("h", await page.run("recorded"))
    answer = heard[loud(heard) :].tobytes()
    assert words(answer, "it is sunny in rome", "i am fine", "i do not understand") == "it is sunny in rome"
