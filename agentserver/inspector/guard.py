"""Who may ask the inspector for what. Pure.

A page of another origin can have a browser send requests to any port of this machine. Names that are bound
anew to 127.0.0.1 give it their Host, its fetches and forms give its Origin and Sec-Fetch-Site, and none of
them has the token, which only the address that was printed in the terminal carries.
"""

from __future__ import annotations

import hmac
from typing import Final

from multidict import CIMultiDictProxy

__all__ = ["SECURITY_HEADERS", "TOKEN_HEADER", "refusal"]

TOKEN_HEADER: Final = "x-inspector-token"  # noqa: S105 - a header's name

SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "permissions-policy": "clipboard-write=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


def refusal(
    method: str, path: str, headers: CIMultiDictProxy[str], port: int, token: str
) -> tuple[int, str] | None:
    """Why a request is not answered: a status and a sentence; ``None`` for one that is.

    Args:
        method: Its method.
        path: Its path; what is below ``/api/`` needs the token.
        headers: Its headers.
        port: The inspector's own port.
        token: The token of this start.
    """
    if words := _elsewhere(headers, port):
        return 403, words
    if method not in {"GET", "HEAD", "POST"}:
        return 405, "The inspector knows GET and POST alone"
    if not path.startswith("/api/"):
        return None if method != "POST" else (405, "There is nothing to post to here")
    tokens = headers.getall(TOKEN_HEADER, [])
    if len(tokens) != 1 or not hmac.compare_digest(tokens[0].encode(), token.encode()):
        return (
            401,
            "The token is missing or of another start: open the address that 'agentserver dev' printed",
        )
    if method == "POST" and headers.getall("content-type", []) != ["application/json"]:
        return 415, "The content type must be application/json"
    return None


def _elsewhere(headers: CIMultiDictProxy[str], port: int) -> str:
    """Say how a request shows that it is another page's; empty if it does not."""
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}
    found, origins = headers.getall("host", []), headers.getall("origin", [])
    if len(found) != 1 or found[0].lower() not in hosts:
        return "The Host header names another server than the inspector"
    if origins and origins != [f"http://{found[0].lower()}"]:
        return "The inspector answers its own page alone"
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        return "The inspector answers its own page alone"
    return "The inspector serves no WebSocket" if "upgrade" in headers else ""
