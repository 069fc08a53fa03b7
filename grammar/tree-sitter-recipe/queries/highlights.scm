; Colours for the recipe language. What comes later wins.

(identifier) @variable
(comment) @comment
(doc_comment) @comment.documentation

(number) @number
(unit) @type
(rate) @type
(boolean) @boolean
(null) @constant.builtin
(string) @string
(escape_sequence) @string.escape
(text_block) @string
(template) @string

(path (identifier) @property)
(entry name: (identifier) @property)
(entry name: (string) @property)
(assignment name: (string) @property)
(field name: (identifier) @property)
(named_argument name: (identifier) @variable.parameter)
(member name: (identifier) @property)
(call function: (identifier) @function)
(rule name: (identifier) @label)
(type (path (identifier) @type))

(block kind: (identifier) @type)
(block name: (identifier) @constant)
(param name: (identifier) @variable.parameter)
(import name: (identifier) @module)

["=" "==" "!=" "<" "<=" ">" ">=" "+" "-" "*" "/" ".." "?"] @operator
["{" "}" "[" "]" "(" ")"] @punctuation.bracket
["," "." ":"] @punctuation.delimiter

; words: begin (python -m alchemist_dsl.docs.editors --write)
((block kind: (identifier) @keyword)
  (#any-of? @keyword "check" "decontaminate" "dedup" "evaluate" "export" "filter" "generate" "map" "measure" "mixture" "moved" "prompt" "recipe" "relabel" "schema" "source" "split" "suite" "task" "teacher" "test" "train" "variant" "classes" "input" "output" "take"))
((assignment name: (path . (identifier) @attribute .))
  (#any-of? @attribute "accept" "against" "api_key_env" "average" "base" "base_url" "batch" "best" "budget" "by" "chat_template" "clusters" "columns" "concurrency" "config" "data" "date" "decoding" "doctests" "dropout" "engine" "entry_point" "epochs" "eval" "eval_share" "examples" "extends" "extra" "files" "format" "from" "given" "gpus" "headers_env" "hub" "id" "identity" "init" "instruction" "learn" "learning_rate" "license" "limit" "lineage" "loss" "map" "max_failed" "max_grad_norm" "max_length" "max_tokens" "method" "metrics" "micro_batch" "missing" "mode" "model" "nodes" "on" "on_bad_row" "on_long" "on_short" "optimizer" "packing" "parallel" "path" "place" "precision" "prefer" "prefill" "price" "processes" "prompt" "provider" "python" "query" "rate" "reasoning_effort" "redraw" "repair" "reply" "report" "response" "retries" "retries_on_reject" "revision" "rules" "salt" "samples" "save_every" "schedule" "schema" "seed" "select" "severity" "shots" "sound" "special_tokens_in_text" "split" "step" "steps" "stop" "suites" "system" "teacher" "temperature" "template" "text" "timeout" "title" "to" "tokenizer" "top_p" "total" "turn" "unit" "user" "weight_decay" "weights"))
((call function: (identifier) @function.builtin)
  (#any-of? @function.builtin "abs" "after" "ascii_share" "before" "calls" "chars" "clarity" "coalesce" "code" "contains" "cost" "count" "coverage" "docstring" "drop_share" "ends_with" "excerpt" "fences" "hash" "head" "int" "join" "json" "lang" "len" "lines" "lower" "matches" "max" "min" "organised" "parses" "pass_rate" "passes" "pick" "real" "repeats" "replace" "roles" "round" "rows" "share" "squeeze" "starts_with" "strip" "text" "tokens" "turns" "words"))
((type (path . (identifier) @type.builtin .))
  (#any-of? @type.builtin "bool" "bytes" "duration" "enum" "id" "int" "json" "list" "messages" "money" "multiplier" "packs" "percent" "prob" "rate" "real" "rows" "text" "tokens"))
((bounded_type base: (identifier) @type.builtin)
  (#any-of? @type.builtin "bool" "bytes" "duration" "enum" "id" "int" "json" "list" "messages" "money" "multiplier" "packs" "percent" "prob" "rate" "real" "rows" "text" "tokens"))
((choice_type base: (identifier) @type.builtin)
  (#any-of? @type.builtin "bool" "bytes" "duration" "enum" "id" "int" "json" "list" "messages" "money" "multiplier" "packs" "percent" "prob" "rate" "real" "rows" "text" "tokens"))
((list_type base: (identifier) @type.builtin)
  (#any-of? @type.builtin "bool" "bytes" "duration" "enum" "id" "int" "json" "list" "messages" "money" "multiplier" "packs" "percent" "prob" "rate" "real" "rows" "text" "tokens"))
["edition" "import" "param"] @keyword.import
["as" "drop" "expect" "keep" "per" "set"] @keyword
["and" "or" "not" "in"] @keyword.operator
; words: end
