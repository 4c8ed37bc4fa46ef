"""The relay behind ``agentserver proxy`` and ``agentserver inspect``: a loopback port for an agent elsewhere.

`upstream` says where that is and with which token; `guard` who may use the port; `http` and `websocket` carry
what comes; `server` is the process that ``inspect`` starts.
"""
