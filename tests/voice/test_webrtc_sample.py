"""The sample whose WebSocket only signals, as a process; aiortc is the other end of its sound."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from tests.servers import ROOT, ServerProcess, running
from tests.voice.caller import calling, sound_of, spoken, words
from tests.voice.peer import calling_over_webrtc, signal

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENT = (ROOT / "tests" / "voice" / "at_home.py", ROOT / "samples" / "13_voice_webrtc" / "main.py")
WEATHER, STORY, STOP = "how is the weather in rome", "tell me a story", "please stop"
NAME, WHO = "my name is peter", "do you remember me"
PEER_LOST = 4010
LOUD = 1000  # of 32767


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncGenerator[ServerProcess, None]:
    await asyncio.to_thread(lambda: [spoken(text) for text in (WEATHER, STORY, STOP, NAME, WHO)])
    async with running(*AGENT) as server:
        yield server


def loud(audio: bytes) -> bytes:
    """*audio* without the silence before and after it."""
    (places,) = np.nonzero(np.abs(np.frombuffer(audio, np.int16)) > LOUD)
    return audio[2 * int(places[0]) : 2 * int(places[-1])]


def sockets(server: ServerProcess) -> int:
    """How many UDP sockets the agent has open: each peer connection has some."""
    net = Path("/proc/net")
    udp = {line.split()[9] for name in ("udp", "udp6") for line in (net / name).read_text().splitlines()}
    descriptors = Path(f"/proc/{server.process.pid}/fd")
    places = [os.readlink(path) for path in descriptors.iterdir()]
    return sum(place.removeprefix("socket:[").removesuffix("]") in udp for place in places)


async def no_sockets(server: ServerProcess) -> None:
    """Wait until no peer connection is open any more."""
    end = time.monotonic() + 10
    while sockets(server):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_spoken_question_is_answered_in_speech_and_the_client_ends_it(server: ServerProcess) -> None:
    async with calling_over_webrtc(server.url) as (caller, _):
        assert sockets(server)
        caller.say(spoken(WEATHER))
        await caller.told("speaking", who="user", active=True)
        await caller.told("heard", text=WEATHER)
        await caller.told("said", text="It is sunny in Rome.")
        await caller.told("speaking", who="agent", active=False)
        await caller.until(lambda: not np.any(np.frombuffer(caller.audio[-1][1], np.int16)))
        answer = loud(sound_of(caller))
        assert words(answer, "it is sunny in rome", "good morning", "i do not understand") == (
            "it is sunny in rome"
        )
        await caller.websocket.close()
        await no_sockets(server)


@pytest.mark.alone
async def test_speech_in_the_middle_of_an_answer_stops_it(server: ServerProcess) -> None:
    async with calling_over_webrtc(server.url) as (caller, _):
        caller.say(spoken(STORY))
        await caller.told("said")
        caller.say(spoken(STOP))
        interrupted = await caller.told("interrupted")
        assert interrupted - caller.spoke_from < 0.3
        await caller.told("heard", text=STOP)
        last = max(
            moment for moment, piece in caller.audio if np.max(np.abs(np.frombuffer(piece, np.int16))) > LOUD
        )
        assert last - interrupted < 0.3
        await caller.told("said", text="Good.")


async def test_a_conversation_goes_on_over_another_peer_connection(server: ServerProcess) -> None:
    async with calling_over_webrtc(server.url, "session-of-peter") as (caller, _):
        caller.say(spoken(NAME))
        await caller.told("said", text="Hello, Peter.")
    async with calling_over_webrtc(server.url, "session-of-peter") as (caller, _):
        caller.say(spoken(WHO))
        await caller.told("said", text="Your name is Peter.")


async def test_a_peer_connection_that_ends_ends_the_call_so_that_one_calls_again(
    server: ServerProcess,
) -> None:
    async with calling_over_webrtc(server.url) as (caller, peer):
        caller.say(spoken(STORY))
        await caller.told("said")
        await peer.close()
        await caller.until(lambda: caller.websocket.closed)
        assert caller.websocket.close_code == PEER_LOST
        await no_sockets(server)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"type": "offer"}, "this is neither offer nor candidate: Object missing required field `sdp`"),
        ({"type": "offer", "sdp": "v=0"}, "this offer cannot be used: it has no track of sound"),
        ({"type": "offer", "sdp": "v=0\r\nm=audio x"}, "this offer cannot be used: "),
        ({"type": "candidate", "candidate": "candidate:1 1 udp"}, "this candidate cannot be used: "),
        ("hello", "this is neither offer nor candidate: "),
    ],
)
async def test_a_signal_that_cannot_be_used_is_told(server: ServerProcess, data: object, why: str) -> None:
    async with calling(server.url, silent=True) as caller:
        await caller.websocket.send_json({"type": "message", "data": data})
        await caller.told("error")
        assert caller.last["message"].startswith(why)


async def test_a_call_that_ends_before_it_is_connected_leaves_no_peer_connection(
    server: ServerProcess,
) -> None:
    async with calling_over_webrtc(server.url) as (caller, peer):
        offer = peer.localDescription.sdp
    async with calling(server.url, silent=True) as caller:
        await signal(caller, type="offer", sdp=offer)
        await caller.told("message")
        assert sockets(server)
    await no_sockets(server)


async def test_a_signal_ends_a_call_cleanly_in_the_middle_of_an_answer() -> None:
    async with running(*AGENT) as server, calling_over_webrtc(server.url) as (caller, peer):
        caller.say(spoken(STORY))
        await caller.told("said")
        started = time.monotonic()
        server.terminate()
        assert await server.exit_code() == 0
        assert time.monotonic() - started < 5
        await caller.until(lambda: caller.websocket.closed)
        assert caller.websocket.close_code == 1001
        while peer.connectionState != "closed":  # the agent said goodbye
            await asyncio.sleep(0.01)
    assert "Traceback" not in "".join(server.log)
