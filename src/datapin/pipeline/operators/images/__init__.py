"""Operators on pictures."""
