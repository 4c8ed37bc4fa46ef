"""Voice agents of Pipecat as handlers; the extra ``pipecat`` installs it.

.. code-block:: python

    class Voice(PipecatHandler):
        def processors(self, call: VoiceCall) -> list[FrameProcessor]:
            return [call.transport.input(), ..., call.transport.output()]


    InvocationsServer.run(Voice)

What goes over the wire is in ``agentserver.integrations.voice``.
"""

from agentserver.integrations.pipecat.handler import PipecatHandler, VoiceCall
from agentserver.integrations.pipecat.transport import WebSocketTransport

__all__ = ["PipecatHandler", "VoiceCall", "WebSocketTransport"]
