"""What an error of crash or makedumpfile means for a dump."""
