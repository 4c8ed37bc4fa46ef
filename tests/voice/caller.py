"""A caller with a microphone and an ear: sends speech in time, keeps what is answered and when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from array import array
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import aiohttp
import numpy as np
import soxr  # type: ignore[import-untyped]  # it has no types

SECOND = 32_000  # bytes
PIECE = 640  # of 20 ms


@cache
def spoken(text: str) -> bytes:
    """*text* as 16 kHz PCM, in the voice of eSpeak NG."""
    command = ["espeak-ng", "-v", "en-us", "-s", "130", "--stdout", text]
    wav = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    rate = int.from_bytes(wav[24:28], "little")
    samples = np.frombuffer(wav[44:] + bytes(rate), np.int16)
    return bytes(soxr.resample(samples, rate, 16_000).tobytes())


def words(audio: bytes, *sentences: str) -> str:
    """Which of *sentences* are said in *audio*."""
    from pocketsphinx import Decoder  # type: ignore[import-untyped]  # it has no types

    choice = " | ".join(sentence.lower() for sentence in sentences)
    decoder = Decoder(samprate=16000, loglevel="FATAL", lm=None)
    decoder.add_jsgf_string("said", f"#JSGF V1.0; grammar said; public <said> = ( {choice} )+ ;")
    decoder.activate_search("said")
    decoder.start_utt()
    decoder.process_raw(bytes(SECOND // 4) + audio + bytes(SECOND // 2), full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    return "" if best is None else str(best.hypstr)


def sound_of(caller: Caller) -> bytes:
    """All that *caller* has heard since this was last asked."""
    audio = b"".join(piece for _, piece in caller.audio)
    caller.audio.clear()
    return audio


class Caller:
    """One connection; its microphone is silent until something is said."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.websocket = websocket
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.audio: list[tuple[float, bytes]] = []
        self.spoke_from = self.spoke_until = 0.0
        self._to_say = bytearray()
        self._changed = asyncio.Event()

    def say(self, audio: bytes) -> None:
        """Speak *audio* into the microphone from now on."""
        self.spoke_from = 0.0
        self._to_say += audio

    async def until(self, condition: Callable[[], object], timeout: float = 20) -> None:
        """Wait until *condition* of what came is true."""
        end = time.monotonic() + timeout
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), end - time.monotonic())

    async def told(self, kind: str, **members: object) -> float:
        """Wait for a message of *kind* with *members*, forget it and what was before; say when it came."""

        def place() -> int | None:
            for index, (_, message) in enumerate(self.messages):
                if message["type"] == kind and members.items() <= message.items():
                    return index
            return None

        await self.until(lambda: place() is not None)
        index = place()
        assert index is not None
        moment, self.last = self.messages[index]
        del self.messages[: index + 1]
        return moment

    def piece(self) -> bytes:
        """The next 20 ms of what the microphone hears."""
        piece = bytes(self._to_say[:PIECE]).ljust(PIECE, b"\0")
        if self._to_say:
            del self._to_say[:PIECE]
            if max(map(abs, array("h", piece))) > 300:
                self.spoke_from = self.spoke_from or time.monotonic()
                self.spoke_until = time.monotonic()
        return piece

    def hear(self, audio: bytes) -> None:
        """Keep *audio*, which has come just now."""
        self.audio.append((time.monotonic(), audio))
        self._changed.set()

    async def speak(self) -> None:
        due = time.monotonic()
        while not self.websocket.closed:
            with contextlib.suppress(ConnectionError):
                await self.websocket.send_bytes(self.piece())
            due += 0.02
            await asyncio.sleep(due - time.monotonic())

    async def listen(self) -> None:
        async for message in self.websocket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.hear(message.data)
            else:
                self.messages.append((time.monotonic(), json.loads(message.data)))
                self._changed.set()
        self._changed.set()


@asynccontextmanager
async def calling(url: str, session: str = "", *, silent: bool = False) -> AsyncGenerator[Caller, None]:
    """Call the agent at *url* until the end of the block; with *silent*, without a microphone."""
    query = f"?agent_session_id={session}" if session else ""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{url}/invocations_ws{query}") as websocket,
    ):
        caller = Caller(websocket)
        tasks = [asyncio.create_task(caller.listen())]
        if not silent:
            tasks.append(asyncio.create_task(caller.speak()))
        try:
            yield caller
        finally:
            await websocket.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
