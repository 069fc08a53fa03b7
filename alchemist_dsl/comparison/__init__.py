"""What a change means: two recipes, two plans, two results, compared by meaning."""
