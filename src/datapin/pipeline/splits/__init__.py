"""Splits, and what may leak from one to another."""
