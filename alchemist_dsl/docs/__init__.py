"""What is generated from the tables of the language: reference pages, JSON Schemas, messages of the pages of codes."""
