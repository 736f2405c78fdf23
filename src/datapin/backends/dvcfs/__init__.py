"""Places that DVC's own file systems reach: SSH, WebDAV, HTTP, Azure, Google Cloud and others."""
