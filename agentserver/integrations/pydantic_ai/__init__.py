"""Agents of Pydantic AI as handlers; the extra ``pydantic-ai`` installs it.

.. code-block:: python

    class Weather(PydanticAIHandler):
        agent = Agent("openai:gpt-5-mini", tools=[get_weather])


    InvocationsServer.run(Weather)

A session is the agent's message history, as JSON in ``sessions``. A tool that needs approval, or is answered
from outside, makes the run wait: give the agent ``DeferredToolRequests`` as one of its output types.
"""

from agentserver.integrations.pydantic_ai.handler import PydanticAIHandler

__all__ = ["PydanticAIHandler"]
