"""What becomes of a request: a response, and what went wrong if something did."""

from __future__ import annotations

from typing import Final, NamedTuple

from aiohttp import web

from agentserver._http.error_response import error_response, failure_of
from agentserver.errors import Failure

# A response that tells of a failure has it with it: through middlewares, and until it is stamped and counted.
FAILURE: Final = web.ResponseKey("failure", Failure)


class Outcome(NamedTuple):
    """What becomes of a request.

    Args:
        response: What is to be sent, or was.
        failure: What the framework says has failed; ``None`` for what a handler answered itself.
        cause: The exception behind *failure*.
        is_cut: Whether the response went out in part and the connection was ended.
    """

    response: web.StreamResponse
    failure: Failure | None = None
    cause: BaseException | None = None
    is_cut: bool = False


def refused(failure: Failure, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """The response that tells of *failure*: the envelope, unless a *response* says it better."""
    if response is None:
        response = error_response(failure)
    response[FAILURE] = failure
    return response


def raised(error: BaseException, request: web.BaseRequest) -> Outcome:
    """The outcome of a request that nothing was sent for when *error* was raised."""
    if isinstance(error, web.HTTPException):
        return _raised_response(error, request)
    failure = failure_of(error, request)
    response = refused(failure)
    if failure.status == 413:
        response.force_close()
    return Outcome(response, failure, error)


def _raised_response(error: web.HTTPException, request: web.BaseRequest) -> Outcome:
    failure = None if error.status < 400 else failure_of(error, request)
    if failure is not None and not _has_own_body(error):
        response = refused(failure)
    else:
        # aiohttp deprecates returning an exception as the response it is, so its parts make a plain one.
        response = web.Response(
            status=error.status, reason=error.reason, body=error.body, headers=error.headers
        )
        if failure is not None:
            refused(failure, response)
    response.cookies.update(error.cookies)
    if error.keep_alive is False or error.status == 413:
        response.force_close()
    return Outcome(response, failure, None if failure is None else error)


def _has_own_body(error: web.HTTPException) -> bool:
    return error.body is not None and error.content_type != "text/plain"
