"""Starts a raw handler or a typed one, answers one POST, prints the CPU seconds and the memory it took."""

import asyncio
import re
import resource
import sys
from pathlib import Path

from aiohttp import web

from agentserver import AgentHost, InvocationContext, InvocationHandler
from agentserver.environment import FoundryEnvironment

BODY = b'{"message": "hello"}'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
POST = b"%bContent-Length: %d\r\n\r\n%b" % (HEAD, len(BODY), BODY)

if sys.argv[1] == "typed":
    from dataclasses import dataclass

    @dataclass
    class Ask:
        message: str

    @dataclass
    class Reply:
        said: str

    class Agent(InvocationHandler[Ask, Reply]):
        async def handle(self, request: Ask, context: InvocationContext) -> Reply:
            return Reply(request.message)

else:

    class Agent(InvocationHandler):  # type: ignore[no-redef]  # the other of the two
        async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, str]:
            return {"said": (await request.json())["message"]}


async def main() -> None:
    builder = AgentHost.create_builder(FoundryEnvironment.read({}))
    builder.configure(host="127.0.0.1", port=0).add_invocations(Agent)
    async with builder.build() as host:
        reader, writer = await asyncio.open_connection("127.0.0.1", host.port)
        writer.write(POST)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer


asyncio.run(main())
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: that begins with what the process that started this one had.
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
assert peak is not None
print(used.ru_utime + used.ru_stime, peak[1])
