"""A stand-in for PyTorch, which is too large for these tests: the contract of DataLoader's workers, and no more.

`make torch` runs the same tests with the real one.
"""
