"""Folders of the user's files: read into rows, written from rows, looked at without being read."""
