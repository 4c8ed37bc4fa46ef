"""What the ``run`` of a durable handler takes and gives: checked when it is asked for, and when it ends."""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin, get_type_hints

from agentserver._http.error_response import to_json
from agentserver._services.signature import signature_of
from agentserver.errors import HandlerError
from agentserver.invocations._handler_interface import check_openapi_version
from agentserver.invocations.handler import InvocationHandler

if TYPE_CHECKING:
    from agentserver._typed.contract import Contract

_ANYTHING: Final = (Any, object, type(None))
_PLAIN: Final = frozenset({dict, list, str, int, float, bool})


class RunTypes:
    """The types of one handler's runs; `Any` for what is not said.

    Args:
        handler: Its class.
        taken: What ``run`` takes.
        given: What it gives.
    """

    def __init__(self, handler: type[InvocationHandler], taken: Any, given: Any) -> None:
        self._handler = handler
        self._taken = taken
        self._given = given

    @cached_property
    def contract(self) -> Contract:
        """Reads the input and writes the output, each if its type is said.

        Raises:
            HandlerError: If a type is one that JSON cannot carry.
        """
        from agentserver._typed.contract import Contract
        from agentserver._typed.parameters import UNSAID
        from agentserver.invocations._typed_handler import codec_of, example_of

        handler = self._handler
        taken, given = (UNSAID if said in _ANYTHING else said for said in (self._taken, self._given))
        request, reply = codec_of(handler, "takes", taken), codec_of(handler, "gives", given)
        examples = [example_of(handler, request, example) for example in handler.examples]
        return Contract(handler.__name__, request, reply, streams=False, examples=examples, noun="an output")

    def read(self, value: Any) -> Any:
        """Make the input of *value*, as JSON has it.

        Raises:
            InvalidBodyError: If it is not what ``run`` takes.
        """
        if self._taken in _ANYTHING:
            return value
        return self.contract.read(to_json(value, ascii_only=True).encode())

    def write(self, result: Any) -> Any:
        """What ``run`` gave, as JSON has it where its type is said and is not a plain one of JSON.

        Raises:
            TypeError: If it is not what ``run`` says that it gives; for the log.
        """
        return result if _is_plain(self._given) else json.loads(self.contract.write(result))


def types_of(handler: type[InvocationHandler]) -> RunTypes:
    """What the ``run`` of *handler* takes and gives.

    Raises:
        HandlerError: If a type is one that JSON cannot carry, or an annotation cannot be read.
    """
    check_openapi_version(handler)
    taken, given = _named(handler) or _annotated(handler)
    types = RunTypes(handler, taken, given)
    if handler.examples or not (_is_plain(taken) and _is_plain(given)):
        _ = (
            types.contract
        )  # a mistake is to be said now; what is plain has none, and need not load the codecs
    return types


def _is_plain(declared: Any) -> bool:
    kinds = (get_origin(declared) or declared, *get_args(declared))
    return all(kind in _ANYTHING or kind in _PLAIN for kind in kinds)


def _named(handler: type[InvocationHandler]) -> tuple[Any, Any] | None:
    """The types that the base class of *handler* names."""
    users = (kind for kind in handler.__mro__ if "_interface" not in vars(kind))
    if not any(get_args(base) for kind in users for base in vars(kind).get("__orig_bases__", ())):
        return None
    from agentserver._typed.parameters import arguments_of, parameters_of

    if not arguments_of(handler, InvocationHandler):
        return None
    return parameters_of(handler, InvocationHandler, "run", "input")


def _annotated(handler: type[InvocationHandler]) -> tuple[Any, Any]:
    run: Any = getattr(handler, "run", None)
    first = list(signature_of(run).parameters)[1]
    try:
        hints = get_type_hints(run, include_extras=True)
    except (NameError, TypeError) as error:
        raise HandlerError(
            f"{handler.__name__}.run has an annotation that cannot be read ({error}): import what it names"
        ) from None
    return hints.get(first, Any), hints.get("return", Any)
