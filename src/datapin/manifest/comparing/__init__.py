"""Two manifests side by side: what differs, by shards first and rows only where shards differ."""
