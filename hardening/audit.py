"""Asks for known vulnerabilities of every package that is locked: ``python -m hardening.audit``.

Ends with 1 if there is one. Where the advisories cannot be reached, it says so and ends with 0, or with 1
when ``AUDIT=strict``: an audit that did not take place must not look like one that found nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"


def main() -> int:
    command = (sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip")
    done = subprocess.run(
        (*command, "--format", "json", "--progress-spinner", "off"),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if not done.stdout:
        print(f"the audit did not take place:\n{done.stderr}", file=sys.stderr)
        return int(os.environ.get("AUDIT") == "strict")
    packages = json.loads(done.stdout)["dependencies"]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    vulnerable = [package for package in packages if package.get("vulns")]
    for package in vulnerable:
        for found in package["vulns"]:
            fixed = ", ".join(found["fix_versions"]) or "none yet"
            print(f"{package['name']} {package['version']}: {found['id']}, fixed in {fixed}")
    print(f"{len(packages) - len(skipped)} packages audited, {len(vulnerable)} vulnerable")
    if skipped:
        print(f"NOT audited, no advisories to be had: {len(skipped)} packages", file=sys.stderr)
    return int(bool(vulnerable) or (bool(skipped) and os.environ.get("AUDIT") == "strict"))


if __name__ == "__main__":
    raise SystemExit(main())
