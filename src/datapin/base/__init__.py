"""The ground floor: ids, errors, durable files, progress, settings, failpoints. Knows nothing of packs or rows."""
