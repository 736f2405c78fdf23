"""What a commit, the index or the work tree pins, and views on it: datasets, versions, history, selectors."""
