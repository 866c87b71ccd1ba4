"""What is compared: views, geometry, correspondences and the one network they share; imports torch and torchvision only."""
