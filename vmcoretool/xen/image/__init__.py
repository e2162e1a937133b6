"""Where the hypervisor's image is mapped."""
