// What a regular expression cannot see: newlines that end a statement, text blocks with any number of quotes, rates.

#include "tree_sitter/parser.h"
#include "words.h"
#include <stdlib.h>
#include <string.h>

// In the order of `externals` in grammar.js. RECOVERING is in no rule: only the error recovery calls it valid.
enum Token { NEWLINE, TEXT_OPEN, TEMPLATE_OPEN, TEXT_CONTENT, TEXT_CLOSE, RATE, RECOVERING };

// The number of quotes of the text block that is open.
typedef struct {
  unsigned quotes;
} Scanner;

void *tree_sitter_recipe_external_scanner_create(void) { return calloc(1, sizeof(Scanner)); }

void tree_sitter_recipe_external_scanner_destroy(void *payload) { free(payload); }

unsigned tree_sitter_recipe_external_scanner_serialize(void *payload, char *buffer) {
  memcpy(buffer, payload, sizeof(Scanner));
  return sizeof(Scanner);
}

void tree_sitter_recipe_external_scanner_deserialize(void *payload, const char *buffer, unsigned length) {
  if (length == sizeof(Scanner)) {
    memcpy(payload, buffer, length);
  } else {
    memset(payload, 0, sizeof(Scanner));
  }
}

static bool blank(int32_t c) { return c == ' ' || c == '\t' || c == '\r'; }

static bool word_part(int32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static unsigned count_quotes(TSLexer *lexer) {
  unsigned n = 0;
  while (lexer->lookahead == '"') {
    n++;
    lexer->advance(lexer, false);
  }
  return n;
}

// `/min` directly behind a number; `/min(` divides by a call.
static bool scan_rate(TSLexer *lexer) {
  char word[8];
  unsigned n = 0;
  lexer->advance(lexer, false);
  while (word_part(lexer->lookahead) && n + 1 < sizeof word) {
    word[n++] = (char)lexer->lookahead;
    lexer->advance(lexer, false);
  }
  word[n] = 0;
  if (word_part(lexer->lookahead) || lexer->lookahead == '(') return false;
  for (unsigned i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
    if (strcmp(word, TIMES[i]) == 0) {
      lexer->mark_end(lexer);
      lexer->result_symbol = RATE;
      return true;
    }
  }
  return false;
}

// Three quotes or more, and nothing behind them on their line.
static bool scan_open(Scanner *scanner, TSLexer *lexer) {
  enum Token found = TEXT_OPEN;
  if (lexer->lookahead == 'j') {
    found = TEMPLATE_OPEN;
    for (const char *c = "jinja"; *c; c++) {
      if (lexer->lookahead != *c) return false;
      lexer->advance(lexer, false);
    }
  }
  unsigned quotes = count_quotes(lexer);
  if (quotes < 3) return false;
  while (blank(lexer->lookahead)) lexer->advance(lexer, false);
  if (lexer->lookahead != '\n') return false;
  lexer->advance(lexer, false);
  lexer->mark_end(lexer);
  scanner->quotes = quotes;
  lexer->result_symbol = found;
  return true;
}

// At the start of a line: its closing quotes, or all lines up to those that close.
static bool scan_text(Scanner *scanner, TSLexer *lexer) {
  bool content = false;
  for (;;) {
    lexer->mark_end(lexer);
    while (blank(lexer->lookahead)) lexer->advance(lexer, false);
    if (count_quotes(lexer) == scanner->quotes) {
      if (!content) {
        lexer->mark_end(lexer);
        scanner->quotes = 0;
      }
      lexer->result_symbol = content ? TEXT_CONTENT : TEXT_CLOSE;
      return true;
    }
    while (lexer->lookahead != '\n' && !lexer->eof(lexer)) lexer->advance(lexer, false);
    if (lexer->eof(lexer)) return false;
    lexer->advance(lexer, false);
    content = true;
  }
}

bool tree_sitter_recipe_external_scanner_scan(void *payload, TSLexer *lexer, const bool *valid) {
  Scanner *scanner = payload;
  if ((valid[TEXT_CONTENT] || valid[TEXT_CLOSE]) && scanner->quotes > 0) return scan_text(scanner, lexer);
  if (valid[RATE] && lexer->lookahead == '/') return scan_rate(lexer);
  bool opens = valid[TEXT_OPEN] || valid[TEMPLATE_OPEN];
  while (blank(lexer->lookahead) || (lexer->lookahead == '\n' && !valid[NEWLINE])) {
    lexer->advance(lexer, true);
  }
  if (lexer->lookahead == '\n') {
    lexer->advance(lexer, false);
    lexer->mark_end(lexer);
    lexer->result_symbol = NEWLINE;
    return true;
  }
  if (opens && (lexer->lookahead == '"' || lexer->lookahead == 'j')) return scan_open(scanner, lexer);
  return false;
}
