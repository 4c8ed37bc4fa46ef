"""The relay to an agent elsewhere."""
