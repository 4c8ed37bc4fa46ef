"""Whether a request may become a WebSocket, and what the 101 says (RFC 6455, section 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from multidict import MultiMapping

from agentserver._websocket.deflate import Deflate, negotiate
from agentserver.errors import InvocationError
from agentserver.wire import ErrorCode

_VERSION: Final = "13"
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Handshake:
    """An accepted upgrade.

    Args:
        headers: The headers of the 101.
        protocol: The subprotocol that was chosen.
        deflate: How messages are compressed, if they are.
    """

    headers: dict[str, str]
    protocol: str | None
    deflate: Deflate | None


def accept(
    request: web.BaseRequest,
    protocols: Sequence[str] = (),
    *,
    origins: Collection[str] | None = None,
    compression: bool = False,
) -> Handshake:
    """Check a request for an upgrade.

    Args:
        request: The request, of which method, version and headers are looked at.
        protocols: The subprotocols the agent speaks; the client's first choice among them is taken.
        origins: The origins whose pages may connect; ``None`` for all. A client that names none is no page.
        compression: Whether messages may be compressed if the client offers it.

    Raises:
        InvocationError: 400 if the request asks for no upgrade or a wrong one, 403 if its origin is none of
            *origins*, 405 if it is no GET.
    """
    headers = request.headers
    if not _has(headers, hdrs.UPGRADE, "websocket") or not _has(headers, hdrs.CONNECTION, "upgrade"):
        raise _refused("This path speaks WebSocket: ask for an upgrade", {"Upgrade": "websocket"})
    if request.method != hdrs.METH_GET:
        raise InvocationError(
            ErrorCode.METHOD_NOT_ALLOWED,
            "A WebSocket is opened with GET",
            status=405,
            headers={hdrs.ALLOW: hdrs.METH_GET},
        )
    if request.version < HttpVersion11:
        raise _refused("WebSockets need HTTP/1.1")  # in older requests Upgrade means nothing (RFC 9110, 7.8)
    found = headers.getall(hdrs.ORIGIN, [])
    if origins is not None and found and (len(found) > 1 or found[0] not in origins):
        raise InvocationError("forbidden", "Pages of this origin may not connect here", status=403)
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != _VERSION:
        raise _refused(
            "Only version 13 of the WebSocket protocol is spoken", {hdrs.SEC_WEBSOCKET_VERSION: _VERSION}
        )
    key = headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()
    if not _is_key(key):
        raise _refused("Sec-WebSocket-Key must be 16 bytes in base64")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    answer: dict[str, str] = {
        hdrs.UPGRADE: "websocket",
        hdrs.CONNECTION: "Upgrade",
        hdrs.SEC_WEBSOCKET_ACCEPT: base64.b64encode(digest).decode(),
    }
    protocol = next(
        (word for word in _words(headers, hdrs.SEC_WEBSOCKET_PROTOCOL) if word in protocols), None
    )
    if protocol is not None:
        answer[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocol
    deflate = negotiate(_words(headers, hdrs.SEC_WEBSOCKET_EXTENSIONS)) if compression else None
    if deflate is not None:
        answer[hdrs.SEC_WEBSOCKET_EXTENSIONS] = deflate.answer
    return Handshake(answer, protocol, deflate)


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def _has(headers: MultiMapping[str], name: str, word: str) -> bool:
    return word in (found.lower() for found in _words(headers, name))


def _words(headers: MultiMapping[str], name: str) -> list[str]:
    # A list header may come in several lines (RFC 9110, section 5.3).
    lines = headers.getall(name, [])
    return [word.strip() for line in lines for word in line.split(",") if word.strip()]


def _refused(message: str, headers: Mapping[str, str] | None = None) -> InvocationError:
    return InvocationError(ErrorCode.INVALID_REQUEST, message, headers=headers)
