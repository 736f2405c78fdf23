"""What a run leaves beside its model: digests, params, the environment."""
