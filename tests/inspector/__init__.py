"""The inspector, over its interface and in a browser."""
