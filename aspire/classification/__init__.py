"""Training and judging classifiers: Lightning module, backbones, group metrics, selection."""
