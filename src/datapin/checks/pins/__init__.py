"""Checks of what DVC's and our pointers say against each other and against the manifests."""
