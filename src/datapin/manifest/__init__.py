"""Rows: schema and rules, Parquet shards, stable cut, digest, edits, differences, SQL. Knows nothing of bytes."""
