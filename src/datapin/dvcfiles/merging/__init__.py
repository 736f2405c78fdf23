"""Three versions of a pointer or a `dvc.lock` merged."""
