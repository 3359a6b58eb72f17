"""The API described to its users: /openapi.json and /docs."""
