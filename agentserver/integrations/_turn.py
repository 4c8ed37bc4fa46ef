"""One turn of a conversation, and whether what was sent fits what the session waits for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from msgspec import to_builtins

from agentserver.errors import BadRequestError, InvocationError
from agentserver.integrations.events import AgentRequest, HumanAnswer, HumanRequest
from agentserver.invocations.context import InvocationContext


@dataclass
class Turn:
    """One turn.

    Args:
        request: What was sent.
        context: The invocation that sent it.
        key: What the session is kept under, see `session_key`.
        state: What the adapter has kept of the session, JSON; ``None`` in its first turn. The adapter sets
            it anew before the turn ends.
        waiting: What the session waits for; the request answers all of it.
        held: Whatever else the adapter needs while the turn lasts.
        ending: What is called when the turn is over, however it ended.
    """

    request: AgentRequest
    context: InvocationContext
    key: str
    state: bytes | None = None
    waiting: Sequence[HumanRequest] = field(default_factory=list[HumanRequest])
    held: Any = None
    ending: ExitStack = field(default_factory=ExitStack)

    def answer_to(self, request_id: str) -> HumanAnswer:
        """The answer to the request of the id *request_id*, one of `waiting`."""
        return next(answer for answer in self.request.answers if answer.id == request_id)


def check_request(request: AgentRequest, waiting: Sequence[HumanRequest]) -> None:
    """Refuse a *request* that is no answer where a session waits for one, and the other way round.

    Raises:
        BadRequestError: If it says nothing, too much, or does not answer what is asked.
        InvocationError: 409 ``waiting_for_human`` with the ``requests``, or 409 ``nothing_to_answer``.
    """
    says_something = request.message is not None or request.data is not None
    if not says_something and not request.answers:
        raise BadRequestError('Send JSON like {"message": "Hello"}')
    if request.answers and says_something:
        raise BadRequestError("Send answers or a message, not both")
    if waiting and not request.answers:
        raise _WaitingError(waiting)
    if not request.answers:
        return
    if not waiting:
        raise InvocationError("nothing_to_answer", "The session waits for no answer", status=409)
    answers = {answer.id: answer for answer in request.answers}
    if len(answers) < len(request.answers):
        raise BadRequestError("Each request has one answer, but two have the same id")
    if answers.keys() != {asked.id for asked in waiting}:
        raise BadRequestError(f"Send answers to these ids, all of them: {_ids(waiting)}")
    for asked in waiting:
        if asked.kind == "approval" and answers[asked.id].approved is None:
            raise BadRequestError(f'The answer to {asked.id} must have "approved": true or false')


def _ids(waiting: Sequence[HumanRequest]) -> str:
    return ", ".join(asked.id for asked in waiting)


class _WaitingError(InvocationError):
    def __init__(self, waiting: Sequence[HumanRequest]) -> None:
        super().__init__(
            "waiting_for_human", f"The session waits for answers to: {_ids(waiting)}", status=409
        )
        self.details = {"requests": to_builtins(waiting)}
