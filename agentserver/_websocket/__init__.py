"""WebSocket: the opening handshake, frames, flow control and the closing handshake (RFC 6455)."""
