"""``agentserver conformance``: hands over to the kit, which has arguments and a help of its own."""

from __future__ import annotations

import argparse

__all__ = ["conformance"]


def conformance(arguments: argparse.Namespace) -> int:
    """Run the conformance kit."""
    from agentserver.conformance.__main__ import main

    return main(arguments.arguments)
