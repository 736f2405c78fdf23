"""Where the map runs: one contract, one engine a module."""
