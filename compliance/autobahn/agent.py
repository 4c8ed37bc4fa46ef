"""The echo sample with compression on, so that sections 12 and 13 have something to judge."""

import runpy
from pathlib import Path

from agentserver import InvocationsServer, InvocationsServerOptions

SAMPLE = Path(__file__).parent.parent.parent / "samples" / "08_websocket_echo" / "main.py"

InvocationsServer.run(
    runpy.run_path(str(SAMPLE))["EchoHandler"], options=InvocationsServerOptions(websocket_compression=True)
)
