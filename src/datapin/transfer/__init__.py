"""Moves assets between the local store and a remote one: plans first, then copies. Knows no versions and no rows."""
