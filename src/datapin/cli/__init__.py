"""The command line: parse, call the repository, render, exit code. No module here is imported by the library."""
