"""One file, one strategy; the file's name is its name on the command line."""
