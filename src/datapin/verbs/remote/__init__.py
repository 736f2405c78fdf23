"""Verbs that talk to a remote: `push`, `fetch`, and what others need brought."""
