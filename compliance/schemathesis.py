"""Has Schemathesis ask two samples what their documents allow, and what they forbid: ``make schemathesis``.

Runs in an environment of its own, whose ``bin`` has the command. One sample answers with JSON, the other
with events; a status, a content type or a body that a document does not know is an error, as any 5xx is.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

from agentserver.testing import run_server
from agentserver.wire import OPENAPI_ROUTE

ROOT: Final = Path(__file__).parents[1]
SAMPLES: Final[tuple[str, ...]] = ("04_multi_turn", "20_typed")


async def judged(sample: str, cases: int, seed: int | None) -> bool:
    """Run Schemathesis on *sample*; whether it had nothing to say."""
    command = Path(sys.executable).parent / "schemathesis"
    options = ["--phases", "examples,coverage,fuzzing", "--max-examples", str(cases)]
    options += ["--continue-on-failure", "--no-color"]
    if seed is not None:
        options += ["--seed", str(seed)]
    async with run_server(ROOT / "samples" / sample / "main.py") as server:
        process = await asyncio.create_subprocess_exec(
            command, "run", server.url + OPENAPI_ROUTE, *options, cwd=ROOT / "build"
        )
        return await process.wait() == 0


async def main() -> int:
    """Ask each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cases", type=int, default=2000, help="how many requests are made up (default: 2000)"
    )
    parser.add_argument("--seed", type=int, help="repeats the chance")
    arguments = parser.parse_args()
    (ROOT / "build").mkdir(exist_ok=True)
    found = [await judged(sample, arguments.cases, arguments.seed) for sample in SAMPLES]
    return 0 if all(found) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
