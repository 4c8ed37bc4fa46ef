"""Agents of Microsoft's Agent Framework as handlers; the extra ``agent-framework`` installs it.

.. code-block:: python

    class Weather(AgentFrameworkHandler):
        agent = Agent(OpenAIChatClient(), tools=[get_weather])


    InvocationsServer.run(Weather)

A session is the framework's ``AgentSession``, as JSON in ``sessions``. A tool with ``approval_mode`` makes
the run wait. The framework makes its own spans, without what was said.
"""

from agentserver.integrations.agent_framework.handler import AgentFrameworkHandler

__all__ = ["AgentFrameworkHandler"]
