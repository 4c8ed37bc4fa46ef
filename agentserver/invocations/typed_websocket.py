"""The WebSocket of a handler that names the types of its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from aiohttp import WSMessage, WSMsgType, web
from typing_extensions import Self, TypeVar

from agentserver._http.error_response import to_json
from agentserver.wire import ErrorCode

if TYPE_CHECKING:
    from agentserver._typed.codec import MismatchError
    from agentserver._typed.contract import Contract

__all__ = ["TypedWebSocket"]

Received = TypeVar("Received")
Sent = TypeVar("Sent")


class TypedWebSocket(Generic[Received, Sent]):
    """An open connection whose messages are objects, checked both ways.

    .. code-block:: python

        async for message in websocket:
            await websocket.send(Answer(message.text))

    A message that is not what the handler takes never reaches it: the client is sent an error frame that says
    where it is wrong, and the connection goes on.

    Args:
        raw: The connection.
        contract: Its messages.
    """

    def __init__(self, raw: web.WebSocketResponse, contract: Contract) -> None:
        self.raw = raw
        self._contract = contract

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        from agentserver._typed.codec import MismatchError

        while True:
            message = await anext(self.raw)
            try:
                received: Received = self._read(message)
            except MismatchError as fault:
                await self.raw.send_str(self._refusal(fault))
            else:
                return received

    async def send(self, message: Sent) -> None:
        """Send *message* as JSON; waits while the client does not keep up.

        Raises:
            TypeError: If it is not what the handler says it sends; nothing is sent then.
            ConnectionResetError: If the connection has ended, which a handler may let go.
        """
        await self.raw.send_str(self._contract.write(message).decode())

    async def close(self, *, code: int = 1000, reason: str = "") -> None:
        """Close the connection.

        Args:
            code: 1000, or 3000 to 4999.
            reason: For the client, at most 123 bytes.
        """
        await self.raw.close(code=code, message=reason.encode())

    def _read(self, message: WSMessage) -> Any:
        assert self._contract.request is not None
        if message.type is not WSMsgType.TEXT:
            from agentserver._typed.codec import MismatchError

            raise MismatchError("expected a text message, got a binary one")
        return self._contract.request.decode(message.data)

    def _refusal(self, fault: MismatchError) -> str:
        code = ErrorCode.INVALID_JSON if fault.message == "is not JSON" else ErrorCode.INVALID_MESSAGE
        error: dict[str, Any] = {
            "code": code.value,
            "message": fault.sentence("The message"),
            "target": fault.target,
        }
        for example in self._contract.examples:
            error["example"] = example
        return to_json({"type": "error", "error": error})
