"""How long a slow client is waited for.

One look at every connection about once a second finds whoever is too slow, so that no request pays for a
timer of its own. How fast a client must be is counted in progress: what moves is never cut.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from agentserver.errors import InvocationError
from agentserver.options import AgentHostOptions

if TYPE_CHECKING:
    from agentserver._http.connection import HostConnection

logger = logging.getLogger("agentserver")

_SHORTEST_INTERVAL: Final = 0.05
_LONGEST_INTERVAL: Final = 1.0


class ClientDeadlines:
    """Ends what its client keeps waiting for too long.

    Args:
        options: Of which the time-outs of connections apply.

    Attributes:
        interval: Seconds between two looks at a connection.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        self._idle = options.keepalive_timeout
        self._head = options.header_timeout or math.inf
        self._body = options.body_timeout or math.inf
        self._write = options.write_timeout or math.inf
        shortest = min(self._idle, self._head, self._body, self._write) / 4
        self.interval = min(max(shortest, _SHORTEST_INTERVAL), _LONGEST_INTERVAL)

    def enforce(self, connection: HostConnection, now: float) -> None:
        """End *connection*, or the request on it, if its time is up at *now*."""
        if self._is_unread(connection, now):
            logger.info("a client that does not read was cut off, %d bytes unsent", connection.unsent)
            connection.abort()
        elif connection.transport is None:
            return  # It is closing, once the client has read what is left.
        elif connection.idle_since is None:
            self._enforce_on_body(connection, now)
        elif connection.head_since is None:
            if now - connection.idle_since > min(self._idle, connection.patience):
                connection.force_close()
        elif now - connection.head_since > min(self._head, connection.patience):
            connection.refuse(_too_slow("The request's headers took too long"))

    def _enforce_on_body(self, connection: HostConnection, now: float) -> None:
        body = connection.receiving
        # A body that is not read here is not the client's to hurry.
        if body is None or body.is_eof() or body.exception() or connection.is_reading_paused:
            connection.quiet_since = None
        elif connection.heard or connection.quiet_since is None:
            connection.heard = False
            connection.quiet_since = now
        elif now - connection.quiet_since > self._body:
            body.set_exception(_too_slow("The request's body took too long"))

    def _is_unread(self, connection: HostConnection, now: float) -> bool:
        before, connection.unsent = connection.unsent, connection.wire.get_write_buffer_size()
        # A handler that may still write waits for nobody.
        waits = connection.unsent > 0 and not connection.is_writable
        if not waits or connection.unsent < before or connection.unread_since is None:
            connection.unread_since = now if waits else None
            return False
        return now - connection.unread_since > self._write


def _too_slow(message: str) -> InvocationError:
    return InvocationError("request_timeout", message, status=408)
