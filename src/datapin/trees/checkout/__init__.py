"""Rows to files: what `checkout` plans, writes and remembers of a folder."""
