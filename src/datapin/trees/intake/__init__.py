"""Files to rows: a folder walked, its metadata joined, its stats kept."""
