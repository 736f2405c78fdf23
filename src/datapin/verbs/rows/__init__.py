"""Verbs that make or edit rows: `add`, `update`, `remove`, and reading them."""
