"""Work that can be stopped at any moment and continued: files, checkpoints, signals, loaders, trainings.

Pre-training and fine-tuning share it. It lies here because a benchmark may not import harness.
"""
