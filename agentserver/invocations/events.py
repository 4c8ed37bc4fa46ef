"""Server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from agentserver._http.error_response import to_json


@dataclass(frozen=True, init=False)
class ServerSentEvent:
    """One event of a ``text/event-stream``; a handler yields it.

    Args:
        data: Text, of which every line becomes a ``data:`` line; or a value that is sent as JSON: a ``dict``,
            a list, a number, ``None``, a dataclass's object.
        event: The event's type; ``None`` leaves it to be ``message``.
        id: The id a client sends back as ``Last-Event-ID``.
        retry: Milliseconds after which a client should reconnect, 0 or more.

    Raises:
        ValueError: If *event* or *id* has a line break, *id* a NUL, or *retry* is negative.
    """

    data: Any
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __init__(
        self,
        data: Any,
        event: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the standard
        retry: int | None = None,
    ) -> None:
        # A model's every token may become an event: the generated constructor costs four times as much.
        values = self.__dict__
        values["data"] = data
        if event is not None or id is not None or retry is not None:
            values.update(event=event, id=id, retry=retry)
            self._check()

    def _check(self) -> None:
        for name in ("event", "id"):
            value = getattr(self, name)
            if value is not None and any(c in value for c in "\r\n\0"):
                raise ValueError(f"the {name} of an event must be one line without NUL, got {value!r}")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"retry is {self.retry}, but it must be 0 or more milliseconds")

    def encode(self) -> bytes:
        """The event's bytes, ending in its blank line.

        Raises:
            TypeError: If the data is no text and has no form in JSON.
            ValueError: If there is a NaN or an infinity in it.
        """
        text = self.data
        if type(text) is not str:
            text = _text_of(text)
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        head = "" if self.event is None else f"event: {self.event}\n"
        if self.id is not None:
            head += f"id: {self.id}\n"
        if self.retry is not None:
            head += f"retry: {self.retry}\n"
        if "\n" in text:
            text = text.replace("\n", "\ndata: ")
        return f"{head}data: {text}\n\n".encode()


def _text_of(data: Any) -> str:
    if isinstance(data, str):
        return str.__str__(data)  # what it is, whatever its class makes of that, as an enumeration does
    text = to_json(data, _json_form)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Lone surrogates, as header bytes that are no UTF-8 become: JSON can escape them.
        text = to_json(data, _json_form, ascii_only=True)
    return text


def _json_form(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"data of an event: {type(value).__name__} is no text, and there is no JSON for it")
