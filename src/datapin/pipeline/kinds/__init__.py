"""Kinds of data: what the stages need to know of images, recordings, texts and tables; one module each."""
