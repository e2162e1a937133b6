"""What opens a dump: the commands of crash and makedumpfile."""
