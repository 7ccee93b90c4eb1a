"""The miniatures: four benchmarks drawn in seconds, with captions, objects and masks."""
