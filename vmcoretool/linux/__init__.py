"""What is known of Linux kernels in a dump."""
