"""The inspector: a page beside ``agentserver dev`` that shows and drives the agent.

`tap` runs in the agent's process and copies what its connections receive and send, and what it logs, to a
pipe. All the rest runs in the process of ``agentserver dev``: `records` reads the pipe, `recording` makes
exchanges of the copied bytes, `driver` sends what the page asks for to the agent, `application` serves the
page and its interface, to those whom `guard` lets in.

Nothing that ``agentserver run`` needs imports this package.
"""
