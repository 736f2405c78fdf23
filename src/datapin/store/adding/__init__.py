"""Files into packs, each read once, by worker processes."""
