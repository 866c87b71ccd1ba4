"""How a backbone is judged: each benchmark turns a ResNet state dict under torchvision's names into scores."""
