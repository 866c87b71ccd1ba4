"""Figures that need a model: the paper's Fig. A1, and what each strategy links in two views of an image."""
