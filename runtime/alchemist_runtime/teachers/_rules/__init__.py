"""What the rules teacher knows: how to describe, review and evolve code from its syntax."""
