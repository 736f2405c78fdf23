"""What changed: `log`, of datasets and of rows, and `diff`."""
