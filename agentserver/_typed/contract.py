"""What a handler takes and gives, as its class says it: the codecs, and an example of what it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from agentserver._typed.codec import Codec, MismatchError
from agentserver._typed.wording import TOO_DEEP
from agentserver.errors import BadRequestError


class InvalidBodyError(BadRequestError):
    """A body is not what the handler takes: 400 ``invalid_request`` with ``target`` and ``example``.

    Args:
        message: A sentence for the caller.
        target: The JSON path of what is wrong.
        examples: A valid body, or nothing if none is known.
    """

    def __init__(self, message: str, target: str, examples: Sequence[Any]) -> None:
        super().__init__(message)
        self.details = {"target": target, **({"example": examples[0]} if examples else {})}


class Contract:
    """The types of one exchange.

    Args:
        name: The handler's class.
        request: Reads what the handler takes; ``None`` if that is the request itself.
        reply: Writes what it gives; ``None`` if that is not said.
        streams: Whether it gives several, as events.
        examples: Bodies that the class gives as examples, as plain JSON.
        noun: What it gives, in a sentence; by default an event or a reply.
        taken: What it takes, at the beginning of a sentence.
    """

    def __init__(
        self,
        name: str,
        request: Codec | None,
        reply: Codec | None,
        *,
        streams: bool,
        examples: Sequence[Any] = (),
        noun: str = "",
        taken: str = "The body",
    ) -> None:
        self.name = name
        self.request = request
        self.reply = reply
        self.streams = streams
        self._given = examples
        self._noun = noun or ("an event" if streams else "a reply")
        self._taken = taken

    @cached_property
    def examples(self) -> list[Any]:
        """At most one body that is valid, as plain JSON."""
        if self._given or self.request is None:
            return list(self._given[:1])
        from agentserver._typed.example import examples_of  # most starts never need one
        from agentserver._typed.schemas import schemas_for

        schemas = schemas_for([self.request])
        return examples_of(schemas.whole[0], schemas.components, self.request)

    def read(self, body: bytes) -> Any:
        """Make the object of a request's *body*.

        Raises:
            InvalidBodyError: If it is not what the handler takes.
        """
        assert self.request is not None
        try:
            return self.request.decode(body)
        except MismatchError as fault:
            raise self._refusal(fault) from None

    def read_object(self, value: Mapping[str, Any]) -> Any:
        """Make the object of *value*, which was JSON; otherwise as `read`."""
        try:
            body = json.dumps(value).encode()
        except RecursionError:
            raise self._refusal(MismatchError(TOO_DEEP)) from None
        return self.read(body)

    def _refusal(self, fault: MismatchError) -> InvalidBodyError:
        return InvalidBodyError(fault.sentence(self._taken), fault.target, self.examples)

    def write(self, value: Any) -> bytes:
        """Make JSON of what the handler gave.

        Raises:
            TypeError: If it is not what the handler says; for the log.
        """
        assert self.reply is not None
        try:
            return self.reply.encode(value)
        except MismatchError as fault:
            given = f"{self._noun}, a {type(value).__qualname__},"
            raise TypeError(f"{self.name} gave {given} that is not what it says: {fault}") from fault
