"""The report: one HTML page of verdicts, tables, plots, settings and runs, which needs nothing beside it."""
