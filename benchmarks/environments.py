"""An environment for each thing that is measured, installed from `requirements/` or from this project."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
OURS = "agentserver"


def python_of(name: str) -> Path:
    """The interpreter of the environment `name`."""
    return HERE / ".venv" / name / "bin" / "python"


def prepare(name: str) -> None:
    """Make the environment `name`, or bring it up to what the project's files now say."""
    wanted = _fingerprint(name)
    stamp = HERE / ".venv" / name / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {name} ...", flush=True)
    if not python_of(name).exists():
        subprocess.run([sys.executable, "-m", "venv", HERE / ".venv" / name], check=True)
    what = [f"{ROOT}[telemetry]"] if name == OURS else ["--requirement", str(_requirements(name))]
    _pip(name, "install", *what)
    if name == OURS:  # the version stays while the sources change
        _pip(name, "install", "--force-reinstall", "--no-deps", str(ROOT))
    stamp.write_text(wanted)


def versions(name: str) -> dict[str, str]:
    """Every distribution in the environment and its version; `python` among them."""
    listed = subprocess.run(
        [python_of(name), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    python = subprocess.run([python_of(name), "--version"], check=True, capture_output=True, text=True)
    found = {row["name"].lower(): row["version"] for row in json.loads(listed.stdout)}
    return {"python": python.stdout.split()[1], **found}


def _pip(name: str, *arguments: str) -> None:
    command = [str(python_of(name)), "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"the environment {name} could not be installed; pip's words are above")


def _requirements(name: str) -> Path:
    return HERE / "requirements" / f"{name}.txt"


def _fingerprint(name: str) -> str:
    sources = [_requirements(name)]
    if name == OURS:
        sources = [ROOT / "pyproject.toml", *sorted((ROOT / "agentserver").rglob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
