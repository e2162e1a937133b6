"""Page-table walkers, one module for each kind of table."""
