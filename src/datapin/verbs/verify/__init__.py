"""`verify`: what the checks are given, and the verdict."""
