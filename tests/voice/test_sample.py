"""The voice sample as a process, called by somebody who speaks and listens."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from agentserver.integrations.voice import TAKEN_OVER
from tests.servers import ROOT, ServerProcess, running
from tests.voice.caller import calling, sound_of, spoken, words

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLE = ROOT / "samples" / "12_voice_pipecat"
WEATHER, STORY, STOP = "how is the weather in rome", "tell me a story", "please stop"
HELLO = "hello"
WAITED = 0.4  # seconds of silence that the sample waits for, to know that the user has ended
NAME, WHO = "my name is peter", "do you remember me"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncGenerator[ServerProcess, None]:
    await asyncio.to_thread(lambda: [spoken(text) for text in (WEATHER, STORY, STOP, NAME, WHO)])
    async with running(SAMPLE / "main.py") as server:
        yield server


async def test_a_spoken_question_is_heard_and_answered_in_speech(server: ServerProcess) -> None:
    async with calling(server.url) as caller:
        await caller.told("ready", resumed=False)
        caller.say(spoken(WEATHER))
        await caller.told("speaking", who="user", active=True)
        await caller.told("heard", text=WEATHER)
        await caller.told("said", text="It is sunny in Rome.")
        await caller.told("speaking", who="agent", active=False)
    answer = sound_of(caller)
    assert (
        words(answer, "it is sunny in rome", "good morning", "i do not understand") == "it is sunny in rome"
    )


@pytest.mark.alone
async def test_speech_in_the_middle_of_an_answer_stops_it_within_300_ms(server: ServerProcess) -> None:
    async with calling(server.url) as caller:
        await caller.told("ready")
        caller.say(spoken(STORY))
        await caller.told("said")
        sound_of(caller)
        await caller.until(lambda: len(caller.audio) > 25)  # a second of it
        caller.say(spoken(STOP))
        interrupted = await caller.told("interrupted")
        last = caller.audio[-1][0]
        assert interrupted - caller.spoke_from < 0.3
        assert last <= interrupted
        await caller.told("heard", text=STOP)
        await caller.told("said", text="Good.")
        assert caller.audio[0][0] < interrupted


async def test_a_conversation_goes_on_after_a_reconnect(server: ServerProcess) -> None:
    async with calling(server.url, "session-of-peter") as caller:
        await caller.told("ready", resumed=False, session_id="session-of-peter")
        caller.say(spoken(NAME))
        await caller.told("said", text="Hello, Peter.")
    async with calling(server.url, "session-of-peter") as caller:
        await caller.told("ready", resumed=True)
        caller.say(spoken(WHO))
        await caller.told("said", text="Your name is Peter.")
    async with calling(server.url, "session-of-nobody") as caller:
        await caller.told("ready", resumed=False)
        caller.say(spoken(WHO))
        await caller.told("said", text="I do not know you.")


async def test_a_newer_connection_of_a_session_takes_it_over(server: ServerProcess) -> None:
    async with calling(server.url, "session-of-two", silent=True) as first:
        await first.told("ready")
        async with calling(server.url, "session-of-two", silent=True) as second:
            await second.told("ready")
            await first.until(lambda: first.websocket.closed)
            assert first.websocket.close_code == TAKEN_OVER
            await second.websocket.send_json({"type": "end"})
            await second.until(lambda: second.websocket.closed)
            assert second.websocket.close_code == 1000


async def test_a_signal_ends_a_call_cleanly_in_the_middle_of_an_answer() -> None:
    async with running(SAMPLE / "main.py") as server, calling(server.url) as caller:
        await caller.told("ready")
        caller.say(spoken(STORY))
        await caller.told("said")
        started = time.monotonic()
        server.terminate()
        assert await server.exit_code() == 0
        assert time.monotonic() - started < 5
        await caller.until(lambda: caller.websocket.closed)
        assert caller.websocket.close_code == 1001
    assert "Traceback" not in "".join(server.log)


@pytest.mark.alone
async def test_from_the_end_of_speech_to_the_first_byte_of_the_answer_is_fast_without_the_models_own_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times: list[float] = []
    async with running(ROOT / "tests" / "voice" / "instant.py") as server, calling(server.url) as caller:
        await caller.told("ready")
        for _ in range(12):
            caller.say(spoken(HELLO))
            await caller.told("heard")
            await caller.told("speaking", who="agent", active=False)
            times.append(caller.audio[0][0] - caller.spoke_until - WAITED)
            caller.audio.clear()
    p50, p95 = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    with capsys.disabled():
        print(f"\nend of speech to first answer byte: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms")
    assert p95 < 0.2
