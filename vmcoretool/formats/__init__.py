"""How machine memory is packed in a file: one module per format."""
