"""What benchmarks without fine-tuning share: reading a ResNet densely, its images, and what is scored of its cells."""
