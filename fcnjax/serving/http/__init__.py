"""The HTTP layer of the server: framing, bodies, origins and limits."""
