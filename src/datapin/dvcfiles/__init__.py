"""DVC's files on disk: pointers, locks, cache, settings, read and written without DVC's code where possible."""
