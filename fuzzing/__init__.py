"""Differential fuzzers: the same bytes to our server and to another's; and a soak of clients that leave."""
