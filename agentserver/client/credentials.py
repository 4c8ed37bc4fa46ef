"""Tokens for the hosting platform: from a callable, from azure-identity, renewed before they expire."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from agentserver._time_limit import wait_for
from agentserver.client.endpoint import TOKEN_SCOPE
from agentserver.client.errors import CredentialError

__all__ = ["AccessToken", "Credential", "Token", "TokenProvider", "TokenSource"]

_TOKEN = re.compile(r"[ -~]+")
RENEW_BEFORE_SECONDS = 300.0
"""How long before its end a token is renewed: longer than any clock is off."""


@runtime_checkable
class AccessToken(Protocol):
    """What azure-identity returns: a token and the Unix time, in seconds, of its end."""

    @property
    def token(self) -> str:
        """The token itself."""
        ...

    @property
    def expires_on(self) -> float:
        """The Unix time, in seconds, at which it ends."""
        ...


@dataclass(frozen=True)
class Token:
    """A token and its end.

    Args:
        token: The token itself.
        expires_on: The Unix time, in seconds, at which it ends.
    """

    token: str
    expires_on: float

    def __repr__(self) -> str:
        return f"Token(..., expires_on={self.expires_on})"


@runtime_checkable
class TokenProvider(Protocol):
    """A credential of azure-identity, synchronous or asynchronous."""

    def get_token(self, *scopes: str) -> Any:
        """Return an access token for *scopes*, or an awaitable of one."""
        ...


TokenSource: TypeAlias = Callable[[], str | AccessToken | Awaitable[str | AccessToken]]
Credential: TypeAlias = TokenSource | TokenProvider


class TokenCache:
    """Asks a credential for a token when the one at hand is missing or about to end.

    Args:
        credential: A callable that returns a token, or a credential of azure-identity. A callable that
            returns a bare string is asked on every request, for only it knows when the token ends. One that
            is no coroutine function runs in a thread, so it may block.
            None takes azure-identity's default credential.
        timeout: Seconds until a token must be there.
    """

    def __init__(self, credential: Credential | None, timeout: float) -> None:
        self._credential = credential
        self._timeout = timeout
        self._owned = False
        self._token: AccessToken | None = None
        self._lock = asyncio.Lock()

    async def get(self) -> str:
        """Return a token that holds for some minutes yet.

        Raises:
            CredentialError: If the credential fails, takes too long, or gives something that is no token.
        """
        try:
            return await wait_for(self._present(), self._timeout)
        except asyncio.TimeoutError:
            raise CredentialError(f"The credential gave no token within {self._timeout:g} s") from None

    async def _present(self) -> str:
        async with self._lock:
            if self._token is None or self._token.expires_on - time.time() < RENEW_BEFORE_SECONDS:
                fresh = await self._ask()
                if isinstance(fresh, str):
                    return fresh
                self._token = fresh
            return self._token.token

    def forget(self) -> None:
        """Drop the token at hand: the server refused it."""
        self._token = None

    async def close(self) -> None:
        """Release what the default credential holds; a credential of the caller's own stays open."""
        if self._owned and self._credential is not None:
            await self._credential.close()  # type: ignore[union-attr]  # azure-identity's aio credential has it

    async def _ask(self) -> str | AccessToken:
        if self._credential is None:
            self._credential, self._owned = _default_credential(), True
        try:
            answer: Any = await _call(self._credential)
        except Exception as error:
            raise CredentialError(f"The credential gave no token: {self._reason(error)}") from error
        token = answer.token if isinstance(answer, AccessToken) else answer
        if not isinstance(token, str) or not token:
            raise CredentialError(f"The credential gave a {type(answer).__name__}, but a token is needed")
        if not _TOKEN.fullmatch(token):
            raise CredentialError("The credential gave a token with a character that no header can have")
        return answer  # type: ignore[no-any-return]  # str or AccessToken, as was just seen

    def _reason(self, error: Exception) -> str:
        # azure-identity tells every way it tried on a line of its own; all of it is in the cause.
        lines = str(error).splitlines()
        words = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        return f"{words.rstrip('.')}: sign in with 'az login', or give credential=" if self._owned else words


async def _call(credential: Credential) -> Any:
    get_token = getattr(credential, "get_token", None)
    source: Callable[[], Any] = (
        cast("Any", credential) if get_token is None else partial(get_token, TOKEN_SCOPE)
    )
    if inspect.iscoroutinefunction(credential if get_token is None else get_token):
        return await source()
    answer = await asyncio.to_thread(source)
    return await answer if inspect.isawaitable(answer) else answer


def _default_credential() -> Credential:
    try:
        # By name, for the type checkers have no azure-identity either.
        identity = import_module("azure.identity.aio")
    except ImportError:
        raise CredentialError(
            "A hosted agent needs a token: give credential=, or pip install 'agentserver-invocations[hosted]'"
            " for azure-identity's default credential"
        ) from None
    credential: Credential = identity.DefaultAzureCredential()
    return credential
