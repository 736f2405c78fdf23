"""A file format: many assets in one write-once file, table of contents at the end. Knows no store.

`format`, `codec` and `writer` are imported by worker processes: standard library and zstandard only.
"""
