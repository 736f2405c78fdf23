"""Manifests and folders that follow a pointer which Git has moved."""
