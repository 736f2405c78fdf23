"""Keys to bytes, somewhere: a directory now, S3 and DVC's other file systems later. Knows no packs."""
