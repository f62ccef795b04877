"""Many people at once: the engine, and an HTTP server that shows its work."""
