"""The lease of a task on the hosting platform's task storage, as its public clients use it.

A task is created ``in_progress`` with a lease of 60 seconds, renewed by a PATCH that names the same owner and
instance, and deleted when there is no work. The interface is in private preview: nobody outside could try it.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import aiohttp

from agentserver.durable._lease import LEASE_SECONDS, LeaseError
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError

GetToken = Callable[[], Awaitable[str]]

SCOPE: Final = "https://ai.azure.com/.default"
_API: Final = {"api-version": "v1"}
_TIMEOUT: Final = aiohttp.ClientTimeout(total=20)


class TaskLease:
    """The lease of one task, for all runs of this process.

    Args:
        environment: Says which project, agent and session this is.
        get_token: Gives the token to send.
    """

    def __init__(self, environment: FoundryEnvironment, get_token: GetToken) -> None:
        agent, session = environment.agent_name or "unknown-agent", environment.session_id
        self._url = f"{environment.project_endpoint.rstrip('/')}/storage/tasks"
        self._get_token = get_token
        self._task = {"agent_name": agent, "session_id": session, "status": "in_progress"}
        self._lease = {
            **_API,
            "lease_owner": f"{agent}|session:{session}",
            "lease_instance_id": f"agentserver-{os.getpid()}-{uuid.uuid4().hex[:12]}",
            "lease_duration_seconds": str(LEASE_SECONDS),
        }
        self._id = ""
        self._session: aiohttp.ClientSession | None = None

    async def renew(self) -> None:
        """See `Lease.renew`."""
        if self._id and await self._send("PATCH", f"/{self._id}", self._lease, {}) != 404:
            return
        self._id = f"agentserver-{uuid.uuid4().hex}"
        body = {**self._task, "id": self._id, "title": "Durable runs"}
        try:
            await self._send("POST", "", self._lease, body)
        except LeaseError:
            self._id = ""
            raise

    async def release(self) -> None:
        """See `Lease.release`."""
        if self._id:
            await self._send("DELETE", f"/{self._id}", {**_API, "force": "true"}, None)
            self._id = ""

    async def close(self) -> None:
        """See `Lease.close`."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, method: str, path: str, query: dict[str, str], body: Any) -> int:
        """Send a request; its status, which is below 300, or 404 for a task that is not there any more."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            headers = {"Authorization": f"Bearer {await self._get_token()}"}
            async with self._session.request(
                method, self._url + path, params=query, json=body, headers=headers, allow_redirects=False
            ) as response:
                if response.status < 300 or (response.status == 404 and path):
                    return response.status
                raise LeaseError(f"the platform's task storage answered {response.status} to a {method}")
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise LeaseError(f"the platform's task storage does not answer: {type(error).__name__}") from None


def task_lease(environment: FoundryEnvironment) -> TaskLease | None:
    """The lease of this container; ``None`` where there is no platform that would stop it.

    Raises:
        ConfigurationError: If there is no way to a token.
    """
    if not (environment.is_hosted and environment.project_endpoint):
        return None
    try:
        is_installed = find_spec("azure.identity") is not None
    except ImportError:  # of the package around it
        is_installed = False
    if not is_installed:
        raise ConfigurationError(
            "Durable(keep_awake=True) needs azure-identity: pip install 'agentserver-invocations[hosted]'"
        )
    return TaskLease(environment, _identity())


def _identity() -> GetToken:
    credential: Any = None

    async def get_token() -> str:
        nonlocal credential
        if credential is None:
            credential = import_module("azure.identity").DefaultAzureCredential()  # it is no dependency
        try:
            # It keeps tokens; only a new one takes time, and that is the thread's.
            token = await asyncio.to_thread(credential.get_token, SCOPE)
        # Whatever keeps the container from a token, its words are for nobody else.
        except Exception as error:  # noqa: BLE001
            raise LeaseError(f"there is no token for the platform: {type(error).__name__}") from None
        return str(token.token)

    return get_token
