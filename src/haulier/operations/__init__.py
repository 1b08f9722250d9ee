"""What can be done to an object: one file each, and the list of all."""
