"""Applications that run on halfbeat."""
