"""Columns of rows: their types and rules, as Arrow and NumPy hold them."""
