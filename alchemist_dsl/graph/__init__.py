"""A plan as a drawing: model.py turns it into steps and links, the other modules turn these into text, Mermaid, SVG, a
page, data.
"""
