"""Differential fuzzers: the same bytes to our server and to somebody else's, and a soak of clients that leave."""
