"""What the ``run`` of a durable handler takes and gives: checked when it is asked for, and when it ends."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from agentserver._http.error_response import to_json
from agentserver._services.signature import signature_of
from agentserver._typed.contract import Contract
from agentserver._typed.parameters import UNSAID, arguments_of, parameters_of
from agentserver.errors import HandlerError
from agentserver.invocations.handler import InvocationHandler


class RunTypes:
    """The types of one handler's runs.

    Args:
        contract: Reads the input and writes the output, each if its type is said.
    """

    def __init__(self, contract: Contract | None) -> None:
        self._contract = contract

    def read(self, value: Any) -> Any:
        """Make the input of *value*, as JSON has it.

        Raises:
            InvalidBodyError: If it is not what ``run`` takes.
        """
        if self._contract is None or self._contract.request is None:
            return value
        return self._contract.read(to_json(value, ascii_only=True).encode())

    def write(self, result: Any) -> Any:
        """What ``run`` gave, as JSON has it where its type is said.

        Raises:
            TypeError: If it is not what ``run`` says that it gives; for the log.
        """
        if self._contract is None or self._contract.reply is None:
            return result
        return json.loads(self._contract.write(result))


def types_of(handler: type[InvocationHandler]) -> RunTypes:
    """What the ``run`` of *handler* takes and gives.

    Raises:
        HandlerError: If a type is one that JSON cannot carry, or an annotation cannot be read.
    """
    if arguments_of(handler, InvocationHandler):
        taken, given = parameters_of(handler, InvocationHandler, "run", "input")
    else:
        taken, given = _annotated(handler)
    taken, given = _said(taken), _said(given)
    if taken is given is UNSAID:
        return RunTypes(None)
    from agentserver.invocations._typed_handler import codec_of, example_of  # the others need no msgspec

    request, reply = codec_of(handler, "takes", taken), codec_of(handler, "gives", given)
    examples = [example_of(handler, request, example) for example in handler.examples]
    return RunTypes(
        Contract(handler.__name__, request, reply, streams=False, examples=examples, noun="an output")
    )


def _annotated(handler: type[InvocationHandler]) -> tuple[Any, Any]:
    run: Any = vars(handler).get("run") or getattr(handler, "run", None)
    first = list(signature_of(run).parameters)[1]
    try:
        hints = get_type_hints(run, include_extras=True)
    except (NameError, TypeError) as error:
        raise HandlerError(
            f"{handler.__name__}.run has an annotation that cannot be read ({error}): import what it names"
        ) from None
    return hints.get(first, UNSAID), hints.get("return", UNSAID)


def _said(declared: Any) -> Any:
    return UNSAID if declared in (Any, object, type(None)) else declared
