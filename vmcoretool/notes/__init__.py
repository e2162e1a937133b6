"""ELF notes of a host vmcore: the walk, and one module for each payload."""
