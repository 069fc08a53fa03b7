"""A comment on a pull request with what its recipes change: event, comparison, verdict, and GitHub's API."""
