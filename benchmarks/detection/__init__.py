"""Fine-tuning detectron2 from a backbone file and scoring it: settings, training, loading, evaluation."""
