"""What each verb does, with several rooms at once: one module per verb or small family; the façade calls them."""
