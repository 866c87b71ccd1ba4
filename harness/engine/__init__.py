"""What makes a run: pre-training, its processes and machine, backbones, observers and provenance."""
