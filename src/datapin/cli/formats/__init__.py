"""What `verify` and `trace` print, for people, CI services and tools."""
