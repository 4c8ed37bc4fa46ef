"""Asks ``https://localhost:PORT/`` with aiohttp as an agent has it, and prints what came of it as JSON.

Run as ``python -m tests.http.late_certificates_agent PORT LOOP VERIFY [first]``; with ``first``, aiohttp is
imported before the project.
"""

from __future__ import annotations

import sys

if "first" in sys.argv:
    import aiohttp

import asyncio
import json
import ssl

import agentserver

_HANDLER = agentserver.InvocationHandler  # as every agent does, and what imports aiohttp if nobody has

import aiohttp  # noqa: E402
import aiohttp.connector  # noqa: E402
import uvloop  # noqa: E402


async def ask(port: int, *, verify: bool) -> str:
    """The status, or the name of the error."""
    async with aiohttp.ClientSession() as client:
        try:
            async with client.get(f"https://localhost:{port}/", ssl=verify) as response:
                return str(response.status)
        except aiohttp.ClientError as error:
            return type(error).__name__


def main() -> None:
    port, loop, verify = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "verify"
    context = aiohttp.connector._SSL_CONTEXT_VERIFIED
    before = type(context).__name__
    running = uvloop.new_event_loop() if loop == "uvloop" else asyncio.new_event_loop()
    answers = [running.run_until_complete(ask(port, verify=verify)) for _ in range(2)]
    print(
        json.dumps(
            {
                "before": before,
                "answers": answers,
                "after": type(context).__name__,
                "trusted": len(context.get_ca_certs()),
                "ssl is as it was": "set_default_verify_paths" not in vars(ssl.SSLContext)
                and type(ssl.create_default_context()) is ssl.SSLContext,
            }
        )
    )


main()
