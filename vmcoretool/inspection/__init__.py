"""All of it as one value."""
