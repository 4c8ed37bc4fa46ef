"""The pictures of the site, drawn from the tables in the code whenever it is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from documentation.pictures import actions, connection, host, request, runs, websocket
from documentation.pictures.drawing import Picture

__all__ = ["PICTURES"]

PICTURES: Final[Mapping[str, Callable[[], Picture]]] = {
    "request": request.picture,
    "connection": connection.picture,
    "websocket": websocket.picture,
    "action": actions.picture,
    "run": runs.picture,
    "host": host.picture,
}
