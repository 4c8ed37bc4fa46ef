"""The ``invocations`` protocol: handlers, their context, and the server that calls them."""
