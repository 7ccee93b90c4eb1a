"""What ``import aspire`` gives, over the jobs of the command line: equal settings, equal runs."""
