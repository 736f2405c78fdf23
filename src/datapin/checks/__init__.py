"""What `verify` asks of a commit: pins, presence, hygiene, every byte, and whether it still reproduces."""
