"""Merges of two people's rows: Git's merge driver, and `resolve`."""
