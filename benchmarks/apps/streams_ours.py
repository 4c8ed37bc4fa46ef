"""The same streams, as a user of ours writes them."""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agentserver import ActionContext, InvocationActionHandler, InvocationsServer

CHUNKS = int(os.environ["BENCH_CHUNKS"])
TOKEN = os.environ["BENCH_TOKEN"]


class Streams(InvocationActionHandler):
    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncIterator[Any]:
        for number in range(CHUNKS):
            yield {"n": number, "token": TOKEN}


InvocationsServer.run(Streams)
