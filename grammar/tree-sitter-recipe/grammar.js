// The recipe language, edition 2026, for tree-sitter. `../recipe.lark` is the definition; this one is for editors and lets
// more pass. Words that are units come from `words.json`, which `python -m alchemist_dsl.docs.editors --write` makes.

const words = require("./words.json");

const PRECEDENCE = {
  or: 1,
  and: 2,
  not: 3,
  compare: 4,
  interval: 5,
  sum: 6,
  product: 7,
  sign: 8,
  postfix: 9,
};

const commas = (rule) => seq(rule, repeat(seq(",", rule)), optional(","));

/** Statements or entries, parted by newlines or commas. A newline is a token only where a statement may end. */
const rows = ($, rule) => seq(rule, repeat(seq($._separator, rule)), optional($._separator));

const binary = ($, level, operator) =>
  prec.left(
    PRECEDENCE[level],
    seq(field("left", $._expression), field("operator", operator), field("right", $._expression)),
  );

module.exports = grammar({
  name: "recipe",

  extras: ($) => [/\s/, $.doc_comment, $.comment],

  // In the order of `enum Token` in src/scanner.c.
  externals: ($) => [
    $._newline,
    $._text_open,
    $._template_open,
    $.text_content,
    $._text_close,
    $.rate,
    $._recovering,
  ],

  word: ($) => $.identifier,

  rules: {
    source_file: ($) =>
      optional(seq($._item, repeat(seq($._newline, $._item)), optional($._newline))),

    _item: ($) => choice($.edition, $.import, $.param, $.block),
    edition: ($) => seq("edition", field("year", $.number)),
    import: ($) => seq("import", field("path", $.string), "as", field("name", $.identifier)),
    param: ($) =>
      seq(
        "param",
        field("name", $.identifier),
        ":",
        field("type", $._type),
        optional(seq("=", field("value", $._expression))),
      ),

    // --- blocks and statements

    block: ($) =>
      seq(
        field("kind", $.identifier),
        optional(field("name", choice($.identifier, $.string))),
        field("body", $.body),
      ),
    body: ($) => seq("{", optional(rows($, $._statement)), "}"),
    _separator: ($) => choice($._newline, ","),

    _statement: ($) => choice($.assignment, $.setting, $.field, $.rule, $.block),
    assignment: ($) => seq(field("name", choice($.path, $.string)), $._assigned),
    setting: ($) => seq("set", field("name", $.path), $._assigned),
    _assigned: ($) =>
      seq(
        "=",
        field("value", $._expression),
        optional(seq("per", field("per", choice($.quantity, $.number, $.path)))),
      ),
    field: ($) =>
      seq(
        field("name", $.identifier),
        ":",
        field("type", $._type),
        optional(seq("=", field("value", $._expression))),
      ),
    rule: ($) =>
      seq(
        field("verb", choice("keep", "drop", "expect")),
        field("condition", $._expression),
        optional(seq("as", field("name", $.identifier))),
      ),
    path: ($) => seq($.identifier, repeat(seq(".", $.identifier))),

    // --- types

    _type: ($) => choice($.nullable_type, $._plain_type),
    nullable_type: ($) => seq($._plain_type, "?"),
    _plain_type: ($) => choice($.type, $.bounded_type, $.choice_type, $.list_type),
    type: ($) => $.path,
    bounded_type: ($) =>
      seq(
        field("base", $.identifier),
        "(",
        choice(
          seq($._bound, "..", $._bound),
          seq($._bound, ".."),
          seq("..", $._bound),
        ),
        ")",
      ),
    _bound: ($) => seq(optional("-"), choice($.quantity, $.number)),
    choice_type: ($) => seq(field("base", $.identifier), "(", commas($.string), ")"),
    list_type: ($) => seq(field("base", $.identifier), "<", $._type, ">"),

    // --- expressions

    _expression: ($) =>
      choice(
        $.binary_expression,
        $.not_expression,
        $.negative,
        $.interval,
        $.member,
        $.index,
        $.call,
        $.group,
        $.list,
        $.record,
        $.quantity,
        $.number,
        $.string,
        $.text_block,
        $.template,
        $.boolean,
        $.null,
        $.identifier,
      ),

    binary_expression: ($) =>
      choice(
        binary($, "or", "or"),
        binary($, "and", "and"),
        binary($, "compare", choice("==", "!=", "<", "<=", ">", ">=", "in", seq("not", "in"))),
        binary($, "sum", choice("+", "-")),
        binary($, "product", choice("*", "/")),
      ),
    not_expression: ($) => prec(PRECEDENCE.not, seq("not", $._expression)),
    negative: ($) => prec(PRECEDENCE.sign, seq("-", $._expression)),
    interval: ($) =>
      prec.left(
        PRECEDENCE.interval,
        seq(field("low", $._expression), "..", field("high", $._expression)),
      ),
    member: ($) =>
      prec.left(
        PRECEDENCE.postfix,
        seq(field("object", $._expression), ".", field("name", $.identifier)),
      ),
    index: ($) =>
      prec.left(
        PRECEDENCE.postfix,
        seq(field("object", $._expression), "[", field("key", $._expression), "]"),
      ),
    call: ($) =>
      prec(
        PRECEDENCE.postfix,
        seq(
          field("function", $.identifier),
          "(",
          optional(commas(choice($._expression, $.named_argument))),
          ")",
        ),
      ),
    named_argument: ($) => seq(field("name", $.identifier), "=", field("value", $._expression)),
    group: ($) => seq("(", $._expression, ")"),
    list: ($) => seq("[", optional(commas($._expression)), "]"),
    record: ($) => seq("{", optional(rows($, $.entry)), "}"),
    entry: ($) =>
      seq(field("name", choice($.identifier, $.string)), "=", field("value", $._expression)),

    // --- values

    boolean: (_) => choice("true", "false"),
    null: (_) => "null",

    // A number with all that clings to it: `5%`, `1.5M`, `512MiB`, `$1.2k`.
    number: (_) => /\$?[0-9]([eE][+-][0-9]|[A-Za-z0-9_%]|\.[0-9])*/,
    quantity: ($) =>
      choice(seq($.number, $.unit, optional($.rate)), seq($.number, $.rate)),
    unit: (_) => choice(...words.units),

    string: ($) =>
      seq(
        '"',
        repeat(choice($._string_content, $.escape_sequence)),
        token.immediate('"'),
      ),
    _string_content: (_) => token.immediate(prec(1, /[^"\\\n]+/)),
    escape_sequence: (_) => token.immediate(/\\(u[0-9A-Fa-f]{4}|[^\n])/),

    // Raw text; content starts on the next line and ends before the line of the closing quotes.
    text_block: ($) => seq($._text_open, optional($.text_content), $._text_close),
    template: ($) => seq($._template_open, optional($.text_content), $._text_close),

    identifier: (_) => /[A-Za-z_][A-Za-z0-9_]*/,
    doc_comment: (_) => token(prec(1, /##[^\n]*/)),
    comment: (_) => token(/#[^\n]*/),
  },
});
