"""Configurations of other training tools -> recipes, and `train` blocks -> configurations of other tools."""
