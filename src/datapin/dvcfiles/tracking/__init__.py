"""A folder put under DVC: by our own code where DVC's settings are plain, else by DVC's."""
