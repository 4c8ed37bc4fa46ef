"""What hostile clients, full machines and faults do to the server."""
