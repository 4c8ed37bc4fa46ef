"""What goes over a voice connection: sound as bytes, everything else as JSON.

A binary frame is sound: 16-bit little-endian PCM, 16 kHz, one channel, either way. A text frame is one of
the messages here, told apart by ``type``. None of a framework is needed to read or write them.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

__all__ = [
    "CHANNELS",
    "MAX_AUDIO_FRAME",
    "SAMPLE_RATE",
    "SAMPLE_WIDTH",
    "TAKEN_OVER",
    "AppMessage",
    "End",
    "Failed",
    "FromClient",
    "Heard",
    "Interrupt",
    "Interrupted",
    "Ready",
    "Said",
    "Speaking",
    "ToClient",
]

SAMPLE_RATE: Final = 16_000
"""Samples of a second."""

SAMPLE_WIDTH: Final = 2
"""Bytes of a sample."""

CHANNELS: Final = 1
"""One: voice is mono."""

MAX_AUDIO_FRAME: Final = 1 << 20
"""Bytes of a frame, at most: the hosting platform drops larger ones. A frame of 20 to 100 ms is usual."""

TAKEN_OVER: Final = 4009
"""The close code of a connection whose session goes on over a newer one: do not connect again."""


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """The first message: the agent listens.

    Attributes:
        session_id: Under which the conversation is kept; give it as ``agent_session_id`` to go on with it.
        resumed: Whether it goes on with one that was kept.
        sample_rate: Of the sound, both ways, in Hz.
    """

    session_id: str
    resumed: bool
    sample_rate: int = SAMPLE_RATE


class Speaking(msgspec.Struct, tag="speaking", frozen=True):
    """Somebody begins to speak, or has ended.

    Attributes:
        who: ``"user"`` or ``"agent"``.
        active: Whether it is the beginning.
    """

    who: Literal["user", "agent"]
    active: bool


class Interrupted(msgspec.Struct, tag="interrupted", frozen=True):
    """The answer is cut short: drop all sound that came before this and has not been played."""


class Heard(msgspec.Struct, tag="heard", frozen=True):
    """What the user said, in *text*."""

    text: str


class Said(msgspec.Struct, tag="said", frozen=True):
    """What the agent says, in *text*; it comes with its sound, so that what is cut off is not told."""

    text: str


class Failed(msgspec.Struct, tag="error", frozen=True):
    """Something that the client sent was not understood, and nothing was done.

    Attributes:
        message: What was wrong with it, and what would be right.
    """

    message: str


class AppMessage(msgspec.Struct, tag="message", frozen=True):
    """Whatever an application and its client tell each other, either way, as any JSON in *data*."""

    data: Any


class Interrupt(msgspec.Struct, tag="interrupt", frozen=True):
    """The client asks for silence, as a button does; speech does it of itself."""


class End(msgspec.Struct, tag="end", frozen=True):
    """The client hangs up: what is being said is said to its end, and the connection is closed with 1000."""


ToClient: TypeAlias = Ready | Speaking | Interrupted | Heard | Said | Failed | AppMessage
"""What a client can be told."""

FromClient: TypeAlias = Interrupt | End | AppMessage
"""What a client can tell."""
