"""`rollback` and `restore`: what is to be reached, what it would lose, and the steps."""
