"""How the ``invocations`` protocols behave: every limit and switch, checked when made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from agentserver._checks import SOME_SECONDS, SWITCH, Check, check_options, texts, whole
from agentserver.errors import ConfigurationError

_PROTOCOL_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_CHECKS: Final[Mapping[str, Check]] = {
    "websocket_max_message_size": whole(1),
    "websocket_close_timeout": SOME_SECONDS,
    "websocket_protocols": texts("chat"),
    "websocket_compression": SWITCH,
}


@dataclass(frozen=True, kw_only=True)
class InvocationsServerOptions:
    """The options of ``invocations`` and ``invocations_ws``.

    Args:
        websocket_max_message_size: Bytes a WebSocket message may have; a larger one is answered with 1009.
            The hosting platform drops frames over 1 MiB whatever this says.
        websocket_close_timeout: Seconds that a client has to answer a close, and that a handler has to finish
            after the client said goodbye, before it is cancelled.
        websocket_protocols: The subprotocols the agent speaks; the first that a client asks for among them is
            chosen and is ``websocket.ws_protocol``.
        websocket_compression: Whether messages are compressed for clients that offer permessage-deflate.

    Raises:
        ConfigurationError: If a value is of another type, or out of its range.
    """

    websocket_max_message_size: int = 16 * 1024 * 1024
    websocket_close_timeout: float = 10.0
    websocket_protocols: tuple[str, ...] = ()
    websocket_compression: bool = False

    def __post_init__(self) -> None:
        check_options(self, _CHECKS)
        for protocol in self.websocket_protocols:
            if not re.fullmatch(_PROTOCOL_NAME, protocol):
                raise ConfigurationError(
                    f"the subprotocol {protocol!r} must be a word of letters, digits and !#$%&'*+-.^_`|~"
                )
