"""The pages that `diff --html` and `run augment --preview` write: one file, no network, no script."""
