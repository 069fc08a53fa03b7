"""A recipe of a wanted length for the bench: sources, filters, prompts and teacher steps, again and again, and a
mixture of all.
"""

from __future__ import annotations

from typing import Final

HEAD: Final = """edition 2026

import "std:alchemy" as alchemy

param share: percent = 5%

recipe {
  title = "bench"
}

teacher gpt {
  provider = openai
  model = "gpt-4o-mini-2024-07-18"
  price {
    input = $1 per 1M tokens
    output = $2 per 1M tokens
  }
}
"""
PART: Final = '''
## Part {i}.
source raw{i} {{
  hub = "owner/data{i}"
  license = "apache-2.0"
  set response = output
}}

filter clean{i} {{
  from = raw{i}
  drop chars(response) < 80 as too_short
  drop code(response) == null as no_code
  drop not parses(code(response), lang(response)) as broken_code
}}

prompt ask{i} {{
  input {{
    instruction: text
    response: text
  }}
  output {{
    answer: text
    score: int(0..10)
  }}
  user = jinja"""
    Here is request number {i}:
    {{{{ instruction | trim }}}}
    {{% if response %}}
    and its answer: {{{{ response }}}}
    {{% endif %}}
    """
}}

generate made{i} {{
  from = clean{i}
  select = param.share per origin
  teacher = gpt
  prompt = ask{i}
  set response = out.answer
  keep out.score >= 5 as weak
}}
'''


def recipe(lines: int) -> str:
    """A right recipe of about so many lines."""
    parts = max(1, round((lines - 35) / 42))
    takes = "".join(f"    clean{i} = 10 parts\n    made{i} = 1 parts\n" for i in range(parts))
    return (
        HEAD
        + "".join(PART.format(i=i) for i in range(parts))
        + f"""
mixture mixed {{
  unit = rows
  take {{
{takes}  }}
}}

decontaminate safe {{
  from = mixed
  against = alchemy.humaneval
}}

export done {{
  data = safe
  path = "done"
}}
"""
    )
