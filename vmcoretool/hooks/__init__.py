"""kdump hooks: the files that are installed, per system."""
