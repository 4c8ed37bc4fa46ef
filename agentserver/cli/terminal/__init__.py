"""What a person types and sees, and the consoles for WebSockets."""
