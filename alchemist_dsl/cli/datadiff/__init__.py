"""What a comparison of two results found, for people and programs: what `alchemist diff --data` prints."""

from alchemist_dsl.cli.datadiff.data import data_json, data_model
from alchemist_dsl.cli.datadiff.markdown import data_markdown
from alchemist_dsl.cli.datadiff.text import data_lines

__all__ = ["data_json", "data_lines", "data_markdown", "data_model"]
