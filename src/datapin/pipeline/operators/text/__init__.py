"""Texts: reading, normal forms, copies with edits, hashed n-grams, sketches for near duplicates."""
