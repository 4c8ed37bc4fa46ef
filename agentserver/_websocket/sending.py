"""What a link does for those who send much: many messages in one write, and the wait for a slow client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from agentserver._websocket.frames import TEXT, header

if TYPE_CHECKING:
    from agentserver._websocket.connection import Link

# A larger message is not worth being copied together with others.
_LARGE: Final = 1 << 14


def write_texts(link: Link, texts: Sequence[bytes]) -> None:
    """Send text messages without waiting, in one system call where each alone would be one.

    Raises:
        ConnectionResetError: If the connection is closed.
    """
    if link.over or link._deflater is not None or max(map(len, texts)) >= _LARGE:
        for text in texts:
            link.write(TEXT, text)
    else:
        link._transport.write(b"".join([header(TEXT, len(text)) + text for text in texts]))
    if link.traffic is not None:
        for text in texts:
            link.traffic.sent(len(text))


def is_slow(link: Link) -> bool:
    """Whether the client does not keep up."""
    return link._senders is not None


async def until_read(link: Link) -> None:
    """Wait while the client does not keep up.

    Raises:
        ConnectionResetError: If the connection is closed.
    """
    while link._senders is not None:
        sender = asyncio.get_running_loop().create_future()
        link._senders.append(sender)
        await sender
        if link.lost.done():
            raise ConnectionResetError(f"the WebSocket is closed ({link.close_code}): nothing can be sent")
