"""What the records say: rows, statistics, claims, plots, figures, reports; reads what the engine has made."""
