"""Work that can be stopped at any moment and continued: whole files, checkpoints and signals.

Pre-training and fine-tuning both use it; it lies here because a benchmark may not import harness, and starts without
torch.
"""
