"""Checks of rows: labels, splits, lineage, copies, looks."""
