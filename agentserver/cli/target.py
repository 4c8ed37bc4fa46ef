"""Finds what is to be served: ``module:Handler``, ``file.py``, ``file.py:Handler``, a program that serves."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import runpy
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from agentserver.cli.errors import CommandError, Exit
from agentserver.errors import AgentServerError

_FOREIGN: Final = (
    "<frozen",
    str(Path(__file__).parents[1]) + os.sep,
    str(Path(sys.base_prefix, "lib")) + os.sep,
)

__all__ = ["TargetError", "is_foreign", "is_program", "load", "run_program"]


class TargetError(CommandError):
    """The target cannot be loaded. ``__cause__`` is the exception of the user's own code, if it was that."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Exit.TARGET)


def is_program(target: str) -> bool:
    """Whether *target* is a file that does something under ``if __name__ == "__main__":``."""
    try:
        tree = ast.parse(Path(target).read_bytes()) if target.endswith(".py") else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return False  # load() says what is wrong with it
    guards = (ast.unparse(node.test) for node in tree.body if isinstance(node, ast.If))
    return "__name__ == '__main__'" in guards


def run_program(target: str) -> None:
    """Run the file *target* as ``python FILE`` does, so that what it configures itself holds.

    Raises:
        TargetError: If it fails; not if its server cannot start, which is an error of its own.
    """
    path = Path(target).resolve()
    sys.path.insert(0, str(path.parent))
    sys.argv = [target]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except AgentServerError:
        raise
    except Exception as error:
        raise _failed(f"{target} cannot be run", error) from error


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
        raise _failed(f"{path} cannot be imported", error) from error
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
            raise _failed(f"{name} cannot be imported", error) from error
        if Path(name).is_file():
            raise TargetError(f"{name} is no Python file: give module:Handler or file.py") from None
        raise TargetError(f"There is no module {error.name!r}, in {Path.cwd()} or installed") from None
    except Exception as error:
        raise _failed(f"{name} cannot be imported", error) from error
    except SystemExit as error:
        raise TargetError(f"{name} ends the process ({error}) while it is imported") from error


def _failed(what: str, error: Exception) -> TargetError:
    words = " ".join(str(error).split()) or "no further words"
    kind = "" if isinstance(error, AgentServerError) else f"{type(error).__name__}: "  # whose words say all
    return TargetError(f"{what}: {kind}{words}{_place(error)}")


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return ""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)
    ]
    # Where the user has written it, rather than where a library has found it out.
    own = [frame for frame in frames if not is_foreign(frame.filename)] or frames
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def is_foreign(filename: str) -> bool:
    """Whether the file of a frame is Python's, the framework's or another library's."""
    return filename.startswith(_FOREIGN) or "site-packages" in Path(filename).parts


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen") or "importlib" in Path(filename).parts


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
        incomplete = "; ".join(_incomplete(module))
        raise TargetError(
            f"{target} has no handler class: {incomplete or 'derive one from InvocationHandler'}"
        )
    raise TargetError(f"{target} has more than one handler: say which, such as {target}:{found[0]}")


def _handlers(module: ModuleType) -> list[str]:
    return [name for name, kind in _handler_classes(module).items() if not inspect.isabstract(kind)]


def _incomplete(module: ModuleType) -> list[str]:
    """What each handler class lacks that cannot serve yet."""
    return [
        f"{name} lacks {', '.join(sorted(kind.__abstractmethods__))}"
        for name, kind in _handler_classes(module).items()
        if inspect.isabstract(kind)
    ]


def _handler_classes(module: ModuleType) -> dict[str, type[Any]]:
    from agentserver import InvocationHandler

    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, InvocationHandler)
        and value.__module__ == module.__name__
    }
