"""What is compared: views, geometry, correspondences and their one network; imports torch and torchvision only."""
