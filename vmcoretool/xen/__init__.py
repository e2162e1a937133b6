"""What is known of Xen's own memory: address space layouts, the image, the version."""
