"""What `make eval-hardware` does once its flags are read."""
