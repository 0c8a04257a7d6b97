"""Object detection: from one box to Faster R-CNN (slides 14 to 23)."""
