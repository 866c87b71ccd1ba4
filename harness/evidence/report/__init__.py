"""One HTML page of what the records say."""
