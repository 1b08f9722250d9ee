"""What executes jobs: the coordinator and its runners."""
