"""Judge any server of the ``invocations`` and ``invocations_ws`` protocols over the wire, in any language.

The requirements and the cases that show them are data (``data/*.json``). A case is a stimulus, run once; what
came back is an :class:`~agentserver.conformance.observation.Observation`; each requirement is a pure question
to the observation of its case. A stored recording of a server answers the same questions as a live one.

``python -m agentserver.conformance --command 'python my_agent.py'`` runs all of it.
"""

from __future__ import annotations

from agentserver.conformance.judge import Outcome, Verdict
from agentserver.conformance.observation import Observation
from agentserver.conformance.requirement import Case, Requirement, load_cases, load_requirements

__all__ = ["Case", "Observation", "Outcome", "Requirement", "Verdict", "load_cases", "load_requirements"]
