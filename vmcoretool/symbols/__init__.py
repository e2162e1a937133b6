"""What has which name: symbol files, and which of them belong to a dump."""
