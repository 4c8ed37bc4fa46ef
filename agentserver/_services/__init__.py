"""Services: what handlers are given as constructor arguments, by type."""
