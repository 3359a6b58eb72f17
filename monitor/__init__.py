"""Health, readiness and the request log."""
