"""Agents of the OpenAI Agents SDK as handlers; the extra ``openai-agents`` installs it.

.. code-block:: python

    class Weather(OpenAIAgentsHandler):
        agent = Agent(name="weather", tools=[get_weather])


    InvocationsServer.run(Weather)

A session is the list of the run's items, as JSON in ``sessions``; while the run waits, the state of the run.
A tool with ``needs_approval`` makes it wait. The SDK's own traces, which it sends to OpenAI unless told
otherwise, are off; where the process has a tracer provider, the run's spans go there.
"""

from agentserver.integrations.openai_agents.handler import OpenAIAgentsHandler

__all__ = ["OpenAIAgentsHandler"]
