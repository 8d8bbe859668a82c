"""What is claimed about this connector, as commands that anyone can run. See README.md in this directory."""
