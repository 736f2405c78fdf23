"""Rows for training loops: which rows each step of each rank gets, and how a worker reads them. No framework here."""
