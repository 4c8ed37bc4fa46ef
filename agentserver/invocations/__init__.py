"""The ``invocations`` protocol: handlers, their context, and the server that calls them."""

from agentserver._http.late_certificates import import_aiohttp

import_aiohttp()  # before anything here does
