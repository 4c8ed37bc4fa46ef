"""What the WebSocket of a handler speaks, and how it is served and documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from agentserver._typed.contract import Contract


class Messages(NamedTuple):
    """The types of a WebSocket.

    Args:
        contract: What the handler takes and gives.
        around: Makes, of an object of the handler's class, one that the endpoint of the WebSocket can call.
        document: Writes the AsyncAPI document.
    """

    contract: Contract
    around: Callable[[Any], Any]
    document: Callable[[], dict[str, Any]]
