"""What Git knows: objects, log, index. Only home of GitPython."""
