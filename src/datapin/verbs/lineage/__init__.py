"""Where an output came from and what used an asset: `trace` and `uses`."""
