"""The one name of aiohttp's inside that the client uses, and what breaks when it changes."""

from __future__ import annotations

import aiohttp

__all__ = ["next_chunk"]


async def next_chunk(content: aiohttp.StreamReader) -> bytes:
    """Wait for more of a body and return all that is there; nothing at its end.

    A body that is cut is given out as far as it came, and only then the error: aiohttp's own methods raise at
    once and keep the rest. ``StreamReader._read_nowait`` does not ask for the error. Were it renamed: an
    AttributeError at the first cut, in tests/client/test_cut_streams.py.

    Raises:
        aiohttp.ClientError, OSError: If the body was cut and all that came of it was given out.
    """
    try:
        return await content.readany()
    # A reader that was woken by the end of a chunk and finds the connection gone gets a RuntimeError.
    except (aiohttp.ClientError, OSError, RuntimeError):
        error = content.exception()
        if error is None:
            raise
        if rest := content._read_nowait(-1):
            return rest
        raise error from None
