"""What the user has called when the host begins and when it ends."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from agentserver._services.signature import signature_of
from agentserver.errors import ConfigurationError, StartupError, text_of

if TYPE_CHECKING:
    from agentserver._services.collection import ServiceProvider

Hook: TypeAlias = Callable[..., object]
"""A function; if it is async, or what it returns can be awaited, it is awaited.

What its parameters ask for is injected, as into a handler's constructor.
"""

T = TypeVar("T")

logger = logging.getLogger("agentserver")


async def run_at_startup(hooks: Iterable[Hook]) -> None:
    """Call *hooks* one after another.

    Raises:
        StartupError: If one of them raises; it says which, and what.
    """
    for hook in hooks:
        try:
            await _call(hook)
        except StartupError:
            raise
        # The boundary of user code: the process ends with a sentence, and with where it was on request.
        except Exception as error:
            raise failed_at_startup(f"the start-up hook {name_of(hook)}", error) from error


async def run_at_shutdown(hooks: Iterable[Hook]) -> None:
    """Call all of *hooks*, whatever each of them raises."""
    for hook in hooks:
        try:
            await _call(hook)
        # One hook's failure must not keep the others from running, nor the exit code from being 0.
        except (Exception, SystemExit):
            logger.exception("the shutdown hook %s failed", name_of(hook))


def with_services(
    function: Callable[..., Any], provider: ServiceProvider | None, what: str
) -> Callable[[], Any]:
    """*function* with what its parameters ask for; itself if it asks for nothing.

    Args:
        function: A hook or a health check.
        provider: Makes the services; ``None`` if none was registered.
        what: What it is, for the sentence of an error.

    Raises:
        ServiceError: If a parameter asks for what nobody registered.
        ConfigurationError: If it is no function.
    """
    if not callable(function):
        raise ConfigurationError(f"{what} is no function: give one, async or not")
    if not _takes_arguments(function):
        return function
    if provider is None:
        from agentserver._services.collection import ServiceCollection

        provider = ServiceCollection().build()
    return functools.update_wrapper(provider.call(function, what), function, updated=())


def tell(configure: Callable[[T], object], subject: T, what: str, argument: str) -> None:
    """Have *configure*, a function of the user's, tell *subject* what it wants.

    Args:
        configure: The function.
        subject: What it is called with.
        what: What the user has given it as, for the sentence of an error.
        argument: What *subject* is called there.

    Raises:
        ConfigurationError: If it is no function, takes other arguments or is async.
    """
    as_function(configure, what, argument)
    name = getattr(configure, "__name__", "configure").replace("<lambda>", "configure")
    instead = f"write 'def {name}({argument})'"
    try:
        result = configure(subject)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # by what it calls
        raise ConfigurationError(f"{what} takes other arguments: {instead}") from None
    if inspect.iscoroutine(result):
        result.close()
        raise ConfigurationError(
            f"{what} must not be async: {instead}, and give what must be awaited to builder.on_startup(…)"
        )


def as_function(configure: object, what: str, argument: str) -> None:
    """Check that *configure* can be called.

    Raises:
        ConfigurationError: If not. It says what to write.
    """
    if not callable(configure):
        raise ConfigurationError(
            f"{what} must be a function that takes one argument, not {configure!r}:"
            f" write 'def configure({argument})'"
        )


def eager_singletons(provider: ServiceProvider) -> Hook:
    """A start-up hook that makes the singletons of *provider* that do not wait for their first use."""
    singletons = provider.eager()

    async def make() -> None:
        for name, get in singletons:
            try:
                await get()
            except StartupError:
                raise
            # The boundary of user code, as above.
            except Exception as error:
                raise failed_at_startup(f"making the singleton {name}", error) from error

    return make


def failed_at_startup(what: str, error: Exception) -> StartupError:
    """The sentence for *error*, raised by *what* of the user's before the server could start."""
    message = " ".join(text_of(error).split())
    reason = type(error).__name__ + (f": {message}" if message else "")
    return StartupError(f"{what} failed: {reason} (AGENTSERVER_LOG_LEVEL=DEBUG shows where)")


async def _call(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


def _takes_arguments(function: Callable[..., Any]) -> bool:
    try:
        parameters = signature_of(function).parameters.values()
    except ValueError:  # some functions written in C do not tell; they are called without arguments
        return False
    return any(p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in parameters)


def name_of(hook: Hook) -> str:
    """The name of *hook* as its writer knows it."""
    name = str(getattr(hook, "__qualname__", None) or repr(hook))
    return name.rpartition("<locals>.")[2]
