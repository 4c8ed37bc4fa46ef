"""Finds what is to be served: ``module:Handler``, ``file.py`` or ``file.py:Handler``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from agentserver.cli.outcome import CommandError, Exit

__all__ = ["TargetError", "load"]


class TargetError(CommandError):
    """The target cannot be loaded. ``__cause__`` is the exception of the user's own code, if it was that."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.TARGET)


def load(target: str) -> Any:
    """Return the handler class, factory, object or host that *target* names.

    Args:
        target: ``module:Handler``, ``file.py:Handler``, or either without the name when there is but one
            handler class in it.

    Raises:
        TargetError: If there is no such thing, or it fails when it is imported.
    """
    place, _, name = target.partition(":") if not _is_windows_path(target) else (target, "", "")
    module = _from_file(Path(place)) if place.endswith(".py") else _from_name(place)
    return _attribute(module, name, target) if name else _only_handler(module, target)


def _is_windows_path(target: str) -> bool:
    return sys.platform == "win32" and target[1:3] in {":\\", ":/"}


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetError(f"There is no file {str(path)!r} in {Path.cwd()}")
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} cannot be imported: give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    # Before it runs: what looks a class's module up by name, as dataclasses do, must find it.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _import_failed(str(path), error) from error
    except SystemExit as error:
        raise TargetError(f"{path} ends the process ({error}) while it is imported") from error
    return module


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{name!r} is no module: give module:Handler or file.py")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise _import_failed(name, error) from error
        raise TargetError(f"There is no module {error.name!r}, in {Path.cwd()} or installed") from None
    except Exception as error:
        raise _import_failed(name, error) from error
    except SystemExit as error:
        raise TargetError(f"{name} ends the process ({error}) while it is imported") from error


def _import_failed(what: str, error: Exception) -> TargetError:
    words = " ".join(str(error).split()) or "no further words"
    return TargetError(f"{what} cannot be imported: {type(error).__name__}: {words}{_place(error)}")


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return ""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)
    ]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _is_machinery(filename: str) -> bool:
    return (
        filename == __file__
        or filename.startswith("<frozen importlib")
        or "importlib" in Path(filename).parts
    )


def _attribute(module: ModuleType, name: str, target: str) -> Any:
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            there = _handlers(module)
            hint = f"; it has {', '.join(there)}" if there else ""
            raise TargetError(f"{target}: there is no {name!r} in {module.__name__}{hint}") from None
    return found


def _only_handler(module: ModuleType, target: str) -> Any:
    found = _handlers(module)
    if len(found) == 1:
        return getattr(module, found[0])
    if not found:
        raise TargetError(f"{target} has no handler class: derive one from InvocationHandler")
    raise TargetError(f"{target} has more than one handler: say which, such as {target}:{found[0]}")


def _handlers(module: ModuleType) -> list[str]:
    from agentserver.invocations.handler import InvocationHandler

    return [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, InvocationHandler)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
