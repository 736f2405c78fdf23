"""The Parquet files of a manifest: footers, shards, digests."""
