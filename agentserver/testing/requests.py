"""The arguments of a handler's methods, to call them directly, without any server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from agentserver.actions.context import ActionContext
from agentserver.client.bodies import encode
from agentserver.client.headers import prefixed
from agentserver.invocations.context import InvocationContext
from agentserver.options import AgentHostOptions
from agentserver.wire import (
    CALL_ID_HEADER,
    CHAT_ISOLATION_KEY_HEADER,
    INVOCATIONS_ROUTE,
    USER_ID_HEADER,
    USER_ISOLATION_KEY_HEADER,
)

__all__ = ["make_action_context", "make_context", "make_request"]


def make_context(
    *,
    invocation_id: str = "test-invocation",
    session_id: str = "test-session",
    client_headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    user_isolation_key: str | None = None,
    chat_isolation_key: str | None = None,
    user_id: str | None = None,
    call_id: str | None = None,
    shutting_down: asyncio.Event | None = None,
) -> InvocationContext:
    """The context that a handler is given.

    Args:
        invocation_id: The invocation's id.
        session_id: The session's id.
        client_headers: ``x-client-*`` headers, named with or without that prefix.
        query: Query parameters; a ``MultiDict`` keeps several values of one name.
        user_isolation_key: What keeps the data of users apart.
        chat_isolation_key: What keeps the data of chats apart.
        user_id: Who calls, as the platform says.
        call_id: The platform's id of the call.
        shutting_down: Set it to tell the handler that the server is going to end.
    """
    keys = {
        USER_ISOLATION_KEY_HEADER: user_isolation_key,
        CHAT_ISOLATION_KEY_HEADER: chat_isolation_key,
        USER_ID_HEADER: user_id,
        CALL_ID_HEADER: call_id,
    }
    given = {name: value for name, value in keys.items() if value is not None}
    return InvocationContext(
        invocation_id=invocation_id,
        session_id=session_id,
        headers={**given, **prefixed(client_headers)},
        query=query,
        shutting_down=shutting_down,
    )


def make_action_context(
    context: InvocationContext | None = None, *, cancel: Callable[[], Awaitable[bool]] | None = None
) -> ActionContext:
    """The context that a method of an `InvocationActionHandler` is given.

    .. code-block:: python

        answer = await MyHandler().invoke({"n": 1}, make_action_context(make_context(session_id="s-1")))

    Args:
        context: What `make_context` made; None takes one without arguments.
        cancel: What ``context.cancel()`` does; None says that nothing runs.
    """
    given = context or make_context()
    made = {} if cancel is None else {"cancel": cancel}
    return ActionContext(
        invocation_id=given.invocation_id,
        session_id=given.session_id,
        headers=given._headers,
        query=given.query_parameters,
        shutting_down=given.shutting_down,
        lifetime=given._lifetime,
        **made,
    )


def make_request(
    body: Any = None,
    *,
    method: str = "POST",
    path: str = INVOCATIONS_ROUTE,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> web.Request:
    """A request that came over no wire; to be made inside a running loop.

    .. code-block:: python

        answer = await EchoHandler().handle(make_request("hello"), make_context())

    A handler that writes its own stream needs a connection: give it one with `in_process`.

    Args:
        body: ``str`` is text, ``bytes`` stays as it is, None is no body, anything else becomes JSON.
        method: The HTTP method.
        path: The path.
        headers: The headers; the content type is the body's unless given.
        query: The query parameters.

    Raises:
        ValueError: If the body cannot be JSON.
    """
    data, content_type = encode(body)
    given = dict(headers or {})
    if content_type and not any(name.lower() == "content-type" for name in given):
        given["Content-Type"] = content_type
    # There is no sender that could be asked to wait, so the whole body must be under the high-water mark.
    payload = StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=max(1, len(data or b"")))
    if data:
        payload.feed_data(data)
    payload.feed_eof()
    url = URL(path).update_query(query or {})
    return make_mocked_request(
        method, str(url), headers=given, payload=payload, client_max_size=AgentHostOptions.max_body_size
    )
