"""Server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from agentserver._record import record


@record(frozen=True, init=False)
class ServerSentEvent:
    """One event of a ``text/event-stream``; a handler yields it.

    Args:
        data: The text; every line of it becomes a ``data:`` line.
        event: The event's type; ``None`` leaves it to be ``message``.
        id: The id a client sends back as ``Last-Event-ID``.
        retry: Milliseconds after which a client should reconnect, 0 or more.

    Raises:
        ValueError: If *event* or *id* has a line break, *id* a NUL, or *retry* is negative.
    """

    data: str
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __init__(
        self,
        data: str,
        event: str | None = None,
        id: str | None = None,  # noqa: A002 - the field's name in the standard
        retry: int | None = None,
    ) -> None:
        # A model's every token may become an event: the generated constructor costs four times as much.
        fields = self.__dict__
        fields["data"] = data
        if event is not None or id is not None or retry is not None:
            fields.update(event=event, id=id, retry=retry)
            self._check()

    def _check(self) -> None:
        for name in ("event", "id"):
            value = getattr(self, name)
            if value is not None and any(c in value for c in "\r\n\0"):
                raise ValueError(f"the {name} of an event must be one line without NUL, got {value!r}")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"retry is {self.retry}, but it must be 0 or more milliseconds")

    def encode(self) -> bytes:
        """The event's bytes, ending in its blank line."""
        text = self.data
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
