"""The offline teacher: a component package that knows code by its syntax and needs no model.

`teacher` is the component; `describe`, `review` and `evolve` are what prompts ask of it by `rules = …`. What they
know stands in tables: phrases over keys of a scan, findings by kinds of nodes, code to put beside or around a function.
"""
