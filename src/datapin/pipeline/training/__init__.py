"""What `train` does with feature rows: estimators, metrics, plots, the model file."""
