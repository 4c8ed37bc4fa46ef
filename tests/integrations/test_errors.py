"""Which failures a caller is told to try again."""

from __future__ import annotations

import pytest

from agentserver.errors import BadRequestError, InvocationError
from agentserver.integrations._errors import unavailable


def failure(name: str, module: str, status: int | None = None) -> Exception:
    """An exception as the library *module* raises it."""
    made: type[Exception] = type(name, (Exception,), {"__module__": module, "status_code": status})
    return made("the key is 1234")


def raised(error: Exception, cause: BaseException | None = None) -> Exception:
    error.__cause__ = cause
    with pytest.raises((type(error), InvocationError)) as caught, unavailable():
        raise error
    return caught.value


@pytest.mark.parametrize(
    "error",
    [
        failure("RateLimitError", "openai", 429),
        failure("InternalServerError", "openai", 503),
        failure("APIConnectionError", "openai"),
        failure("APITimeoutError", "openai"),
        failure("ModelHTTPError", "pydantic_ai.exceptions", 500),
        failure("RemoteProtocolError", "httpx"),
        failure("ReadTimeout", "httpx2"),
    ],
)
def test_a_model_that_does_not_answer_is_unavailable_and_not_named(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    for told in (raised(error), raised(RuntimeError("it failed"), error)):
        assert isinstance(told, InvocationError)
        assert (told.status, told.code, told.headers) == (503, "unavailable", {"Retry-After": "5"})
        assert "1234" not in told.message
    assert "the key is 1234" in caplog.text  # for who runs the agent


@pytest.mark.parametrize(
    "error",
    [
        failure("BadRequestError", "openai", 400),
        failure("AuthenticationError", "openai", 401),
        failure("RateLimitError", "somebody", 429),
        failure("LengthFinishReasonError", "openai"),
        BadRequestError("Send a number"),
        ValueError("x"),
    ],
)
def test_all_else_stays_what_it_is(error: Exception) -> None:
    assert raised(error) is error


def test_an_error_in_the_handling_of_another_is_one_of_its_own() -> None:
    error = KeyError("x")
    error.__context__ = failure("APITimeoutError", "openai")
    assert raised(error) is error
