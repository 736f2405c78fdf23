"""What Git's hooks and drivers call."""
