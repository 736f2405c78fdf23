"""The page that `diff --html` writes: one file, no network, no script."""
