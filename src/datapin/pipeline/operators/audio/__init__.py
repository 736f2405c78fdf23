"""Operators on recordings: reading, one form, copies, features, pictures."""
