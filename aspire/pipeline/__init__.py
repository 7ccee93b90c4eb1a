"""Records, the artifact store, stages and engines."""
