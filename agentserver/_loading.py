"""Importing with the garbage collector put off.

Theory of operation. An import makes tens of thousands of objects that stay, and while it does the collector
looks through them again and again for what does not: a fifteenth of a start (``docs/decisions/start.md``).
So it rests while the package imports aiohttp and itself. What was made then counts as old, as if it had been
looked at: freezing and thawing moves it there at once. Nothing else of the collector has changed afterwards,
and what the imports did leave behind is found when it next looks at everything.
"""

import gc
import sys
from importlib import import_module
from types import ModuleType


def load(name: str) -> ModuleType:
    """Import the module *name*.

    The collector is left alone where its user has other plans: where it is off, or something is frozen.
    """
    if sys.implementation.name != "cpython" or not gc.isenabled() or gc.get_freeze_count():
        return import_module(name)
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.unfreeze()
        gc.enable()
