; Templates are jinja2. Text blocks without `jinja` are raw.

((template (text_content) @injection.content)
  (#set! injection.language "jinja2"))

([(comment) (doc_comment)] @injection.content
  (#set! injection.language "comment"))
