"""What `gattway` does at the command line, a module each."""
