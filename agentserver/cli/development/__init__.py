"""What ``agentserver dev`` is made of: the server's process, its socket, its variables, its log."""
