"""Graphs of LangGraph as handlers; the extra ``langgraph`` installs it.

.. code-block:: python

    class Weather(LangGraphHandler):
        graph = builder.compile()


    InvocationsServer.run(Weather)

A session is a thread of the graph. A graph that was compiled with a checkpointer keeps it there, as long as
that does; of one without, the last checkpoint is in ``sessions``. ``interrupt()`` makes the run wait.
"""

from agentserver.integrations.langgraph.handler import LangGraphHandler

__all__ = ["LangGraphHandler"]
