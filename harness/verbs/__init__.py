"""What the command line can be asked: one file a verb."""
