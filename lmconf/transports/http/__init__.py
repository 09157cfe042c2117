"""The HTTP client: attempts, connections, bodies and event streams."""
