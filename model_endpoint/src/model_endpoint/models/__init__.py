"""What a model is, how it is loaded, and how it answers rows."""
