"""Where the hypervisor is, and how sure that is: one module per source."""
