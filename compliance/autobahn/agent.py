"""The echo sample with compression on, so that sections 12 and 13 have something to judge."""

import sys
from pathlib import Path

from agentserver import InvocationsServer, InvocationsServerOptions

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "samples" / "08_websocket_echo"))

from main import EchoHandler

InvocationsServer.run(EchoHandler, options=InvocationsServerOptions(websocket_compression=True))
