"""What the reverse proxy demands of a connection and of a request before it reads a body."""
