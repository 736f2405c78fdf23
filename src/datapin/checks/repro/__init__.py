"""Does the commit give the same again? A clean clone, run and compared."""
