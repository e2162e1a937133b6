"""kdump-compressed and diskdump files."""
