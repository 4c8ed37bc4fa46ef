"""aiohttp without the reading of certificates that it does while it is imported.

Theory of operation. aiohttp makes two TLS contexts for its client when it is imported, and for each OpenSSL
reads all certificates that the system trusts: a fifth of a start, which most agents need much later or never
(`docs/decisions/late-certificates.md`). Both come to `SSLContext.set_default_verify_paths`. While aiohttp is
imported from here, that call makes the context a `_LateContext` instead, which reads them when it is first
used and is an ordinary one from then on. Until then it trusts nobody: whatever went past what is overridden
here would fail to verify its peer, and not succeed without.

Who wants them read at the start says ``import aiohttp`` first: then nothing of this happens.
"""

from __future__ import annotations

import ssl
import sys
from importlib import import_module
from typing import Any

__all__ = ["import_aiohttp"]


class _LateContext(ssl.SSLContext):
    """Reads the certificates that the system trusts when somebody is to be verified, or asks for them."""

    def _read(self) -> None:
        # First read, then ordinary: of two threads, neither may find it ordinary and empty.
        ssl.SSLContext.set_default_verify_paths(self)
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # which has the same layout

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        self._read()
        return self.wrap_bio(*arguments, **named)

    def wrap_socket(self, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        self._read()
        return self.wrap_socket(*arguments, **named)

    def get_ca_certs(self, *arguments: Any, **named: Any) -> Any:
        self._read()
        return self.get_ca_certs(*arguments, **named)

    def cert_store_stats(self) -> dict[str, int]:
        self._read()
        return self.cert_store_stats()


def _postpone(context: ssl.SSLContext) -> None:
    if type(context) is ssl.SSLContext:
        context.__class__ = _LateContext
    else:  # somebody's own class, and theirs to fill
        super(ssl.SSLContext, context).set_default_verify_paths()


def import_aiohttp() -> None:
    """Import aiohttp, unless that has been done, with contexts that read their certificates at first use."""
    if "aiohttp" in sys.modules or "set_default_verify_paths" in vars(ssl.SSLContext):
        return
    contexts: Any = ssl.SSLContext
    contexts.set_default_verify_paths = _postpone
    try:
        import_module("aiohttp")
    finally:
        del contexts.set_default_verify_paths  # what was inherited is seen again
