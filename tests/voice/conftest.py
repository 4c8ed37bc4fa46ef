"""Voice needs Pipecat, PocketSphinx and eSpeak NG: without them nothing of this folder runs."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec

HAS_ALL = bool(find_spec("pipecat") and find_spec("pocketsphinx") and shutil.which("espeak-ng"))

# ONNX Runtime, which finds voice activity, would keep account of it for its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# One line that they were skipped is enough.
collect_ignore_glob = [] if HAS_ALL else ["test_[!i]*.py"]
