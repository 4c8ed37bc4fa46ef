"""slowhttptest, from Debian's package of that name: slow headers, slow bodies, slow readers."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest

from hardening.process import agent, descriptors, note, until

LIMITS = {"HEADER_TIMEOUT": "5", "BODY_TIMEOUT": "5", "WRITE_TIMEOUT": "5"}
ATTACKS = {
    "slow headers": ("-H", "-i", "2", "-x", "10"),
    "slow bodies": ("-B", "-i", "10", "-s", "8192"),
    "slow readers": ("-X", "-w", "10", "-y", "20", "-n", "10", "-z", "1", "-k", "1"),
}

pytestmark = pytest.mark.skipif(
    shutil.which("slowhttptest") is None, reason="slowhttptest is not installed: apt-get install slowhttptest"
)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_thousand_slow_clients_neither_keep_others_out_nor_stay(attack: str) -> None:
    path = "/invocations?stream=2000000" if attack == "slow readers" else "/invocations"
    async with agent(LIMITS) as server:
        process = await asyncio.create_subprocess_exec(
            "slowhttptest", *ATTACKS[attack], "-c", "1000", "-r", "500", "-l", "30", "-p", "2", "-t", "POST",
            "-u", f"{server.url}{path}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 90)
        text = re.sub(r"\x1b\[[0-9;]*m", "", output.decode(errors="replace"))
        seconds = re.findall(r"slow HTTP test status on (\d+)th second", text)
        available = re.findall(r"service available:\s+(\w+)", text)
        assert available, text[-3000:]
        note(
            f"slowhttptest, {attack}, 1,000 clients, limits of 5 s",
            f"available {available.count('YES')} of {len(available)} times it was asked,"
            f" over after {seconds[-1] if seconds else '?'} s",
        )
        assert set(available) == {"YES"}
        await until(lambda: descriptors(server) < 50)
