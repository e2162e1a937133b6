"""Bytes at a machine or virtual address."""
