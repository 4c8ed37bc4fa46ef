"""Three processes behind one port, and one PostgreSQL store: kill one, and the others finish its runs."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from typing import Any

from agentserver import AgentHost, Durable, InvocationHandler, Run

REPLICAS = 3


class Researcher(InvocationHandler, durable=Durable(busy="parallel", keep=timedelta(days=7))):
    """Writes chapter after chapter, and says in which process."""

    async def run(self, question: dict[str, Any], run: Run) -> dict[str, Any]:
        """Do the research; what is recorded is not done again, in whichever process it goes on."""
        for number in range(1, question["chapters"] + 1):
            chapter = await run.step("write", write, question["topic"], number, question.get("seconds", 1))
            await run.emit(chapter)
        return {"chapters": question["chapters"]}


async def write(topic: str, number: int, seconds: float) -> dict[str, Any]:
    """Stand in for a model that writes."""
    await asyncio.sleep(seconds)
    return {"chapter": f"{topic}, part {number}", "process": os.getpid()}


def serve(descriptor: int) -> None:
    """Be one of the replicas: serve what comes on the listener that all of them share."""
    builder = AgentHost.create_builder()
    builder.listener = socket.socket(fileno=descriptor)
    builder.add_invocations(Researcher)
    builder.build().run()


def start_replicas() -> None:
    """Open the port, start the replicas, and end them when this process is to end."""
    if not os.environ.get("AGENTSERVER_STORE", "").startswith("postgres"):
        sys.exit("set AGENTSERVER_STORE to a database: postgresql://user:password@host/database")
    listener = socket.create_server(("", int(os.environ.get("PORT") or 8088)), backlog=1024)
    command = [sys.executable, __file__, str(listener.fileno())]
    replicas = [
        subprocess.Popen(command, pass_fds=[listener.fileno()])  # noqa: S603 - this very program
        for _ in range(REPLICAS)
    ]
    listener.close()  # it is theirs
    print("replicas:", *(replica.pid for replica in replicas), flush=True)

    def end(_number: int, _frame: object) -> None:
        for replica in replicas:
            replica.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    for replica in replicas:
        replica.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(int(sys.argv[1]))
    else:
        start_replicas()
