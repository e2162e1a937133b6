"""Where the bytes of a dump come from: files, pipes, and what is wrapped around them."""
