"""Turn-taking, measured from the caller's end."""
