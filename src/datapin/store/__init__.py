"""Packs, loose assets and index on a place. Knows no rows.

Worker processes import `layout`, `sources`, `filling`, `adding`, `channel` and `worker`: these stay free of NumPy
and Arrow, so that a worker starts in a twentieth of a second.
"""
