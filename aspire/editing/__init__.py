"""Pixels: segmenters (phrase -> mask), inpainters, restylers."""
