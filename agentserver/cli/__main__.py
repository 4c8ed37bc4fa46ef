"""``python -m agentserver.cli``, for where the script is not on the path."""

import sys

from agentserver.cli import main

if __name__ == "__main__":
    sys.exit(main())
