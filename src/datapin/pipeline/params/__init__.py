"""Parameters of the stages and of verify: models, and where params.yaml breaks them."""
