"""The set-up of the process's log, on standard error."""

from __future__ import annotations

import logging
from typing import Final

from agentserver._telemetry.log_format import JsonFormatter, TextFormatter
from agentserver._telemetry.request_log import BatchingHandler, write_in_batches
from agentserver.environment import FoundryEnvironment

_ROOT: Final = logging.getLogger()


def configure_logging(environment: FoundryEnvironment) -> None:
    """Set up the root logger as the environment says, unless the user has set it up already."""
    if _ROOT.handlers:
        return
    handler = BatchingHandler(JsonFormatter() if environment.log_format == "json" else TextFormatter())
    write_in_batches(handler)
    _ROOT.addHandler(handler)
    _ROOT.setLevel(environment.log_level)
