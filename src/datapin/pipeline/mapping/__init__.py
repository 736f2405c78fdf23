"""The incremental map: an operator over assets, with a memo of what was computed."""
