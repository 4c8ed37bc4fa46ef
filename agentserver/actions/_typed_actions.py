"""Actions whose payloads are objects, checked both ways. Loaded only for a handler that names its types."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from functools import partial
from typing import Any

from agentserver._typed.contract import Contract
from agentserver._typed.messages import Messages
from agentserver._typed.names import is_record, name_of, unwrapped
from agentserver._typed.parameters import parameters_of, without
from agentserver.actions._server_connection import Actions, is_stream
from agentserver.actions.context import ActionContext
from agentserver.actions.frames import Encoded
from agentserver.errors import HandlerError
from agentserver.invocations._typed_handler import codec_of, example_of
from agentserver.invocations.handler import InvocationHandler


def messages_of(handler: type[InvocationHandler], base: type, *, streams: bool) -> Messages:
    """What *handler* takes and gives as actions.

    Args:
        handler: The class.
        base: The generic class that it derives from.
        streams: Whether ``invoke`` is an async generator.

    Raises:
        HandlerError: If that cannot be read, written or told apart.
    """
    taken, given = parameters_of(handler, base, "invoke", "payload")
    payload = codec_of(handler, "takes", without(taken, ()))
    if payload is not None:
        _refuse_non_objects(handler, taken)
    answer = codec_of(handler, "gives", without(given, ()))
    examples = [example_of(handler, payload, example) for example in handler.examples]
    noun = "a chunk" if streams else "an answer"
    contract = Contract(
        handler.__name__, payload, answer, streams=streams, examples=examples, noun=noun, taken="The payload"
    )
    return Messages(contract, _as_it_is, partial(_asyncapi, handler, contract))


def _refuse_non_objects(handler: type, taken: Any) -> None:
    for member in unwrapped(taken, union=True):
        kind = unwrapped(member)
        if not is_record(kind) and not (isinstance(kind, type) and issubclass(kind, Mapping)):
            raise HandlerError(
                f"{handler.__name__} takes {name_of(taken)}, but the payload of an action is a JSON object:"
                f" make {name_of(member)} a field of a class"
            )


def _as_it_is(handler: Any) -> Any:
    return handler  # which knows its contract, and reads and writes by it


def _asyncapi(handler: type[InvocationHandler], contract: Contract) -> dict[str, Any]:
    from agentserver._typed.asyncapi_actions import asyncapi_of_actions
    from agentserver.invocations._typed_documents import about

    return asyncapi_of_actions(contract, *about(handler))


class TypedActions:
    """The actions of a handler with types, as a connection calls those of one without.

    Args:
        handler: The user's.
        contract: Its types.
    """

    _durable_actions: None = None

    def __init__(self, handler: Actions, contract: Contract) -> None:
        self._handler = handler
        self._contract = contract
        self.max_concurrent_invocations = handler.max_concurrent_invocations
        self.ping_interval = handler.ping_interval
        self.get_invocation = handler.get_invocation
        self.cancel_invocation = handler.cancel_invocation

    def invoke(
        self, payload: Mapping[str, Any], context: ActionContext
    ) -> Awaitable[Any] | AsyncIterator[Any]:
        """Run an invocation with the object in *payload*.

        Raises:
            InvalidBodyError: If it is not what the handler takes.
        """
        contract = self._contract
        taken = payload if contract.request is None else contract.read_object(payload)
        result: Any = self._handler.invoke(taken, context)
        return self._stream(result) if is_stream(result) else self._answer(result)

    async def _answer(self, result: Awaitable[Any]) -> Any:
        value = await result
        return self._stream(value) if is_stream(value) else self._encoded(value)

    async def _stream(self, items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
        try:
            async for item in items:
                yield self._encoded(item)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()

    def _encoded(self, value: Any) -> Any:
        return value if self._contract.reply is None else Encoded(self._contract.write(value))
