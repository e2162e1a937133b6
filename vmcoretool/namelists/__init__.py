"""Symbol files: what one says, where they lie, and which belongs to a dump."""
