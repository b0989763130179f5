"""The metadata graph over HTTP."""
