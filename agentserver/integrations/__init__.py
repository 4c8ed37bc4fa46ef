"""Agents of other frameworks, served as handlers.

``events``, ``sessions`` and ``handler`` need none of the frameworks; each of the other modules needs the one
it is named after, and the extra of the same name installs it. Nothing here is imported unless it is used.
"""
