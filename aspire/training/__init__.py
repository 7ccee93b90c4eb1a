"""From a job to trained weights: the context of a baseline, its phases, and what is kept."""
