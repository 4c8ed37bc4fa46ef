"""``agentserver completion``: what a shell evaluates to complete this command line."""

from __future__ import annotations

import argparse

from agentserver.cli.errors import Exit, MissingPackageError

__all__ = ["completion"]


def completion(arguments: argparse.Namespace) -> int:
    """Print the shell code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise MissingPackageError("Completion") from None
    print(shellcode(["agentserver"], shell=arguments.shell))
    return Exit.OK
