"""HTTP: from a TCP connection to requests, and from what handlers return to bytes."""
