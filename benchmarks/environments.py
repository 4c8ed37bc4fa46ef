"""An environment for each thing that is measured, installed from `requirements/` or from this project."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
OURS = "agentserver"
BEFORE = "before"


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


def prepare_revision(revision: str) -> None:
    """Make the environment of `BEFORE`: this project as it was at a git revision."""
    archive = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
    packed = subprocess.run(archive, capture_output=True, check=False)
    if packed.returncode:
        raise SystemExit(f"--against {revision}: {packed.stderr.decode().strip()}")
    wanted = hashlib.sha256(packed.stdout).hexdigest()
    stamp = HERE / ".venv" / BEFORE / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"installing {revision} ...", flush=True)
    if not python_of(BEFORE).exists():
        subprocess.run([sys.executable, "-m", "venv", HERE / ".venv" / BEFORE], check=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        _pip(BEFORE, "install", f"{folder}[telemetry]")
        _pip(BEFORE, "install", "--force-reinstall", "--no-deps", folder)
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
