"""Whose dump it is, who crashed and why."""
