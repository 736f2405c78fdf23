"""What surrounds every verb: options before or after it, colours, pager, log, completion, help. Light: no Arrow."""
