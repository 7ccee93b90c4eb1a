"""Where the jobs of a sweep are processed, ``hydra/launcher=``: one file a choice."""
