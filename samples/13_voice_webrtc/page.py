"""The portal of sample 12 with a page whose sound goes over WebRTC."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "12_voice_pipecat"))

from portal import serve

if __name__ == "__main__":
    serve(Path(__file__).with_name("page"))
