// Prints what `grammar.js` says as tree-sitter's grammar.json: the functions that a grammar is written in, evaluated.
// usage: node grammar_json.js GRAMMAR.JS
const path = require("node:path");

const rule = (value) => {
  if (typeof value === "string") return { type: "STRING", value };
  if (value instanceof RegExp) return { type: "PATTERN", value: value.source };
  if (value && typeof value.type === "string") return value;
  throw new Error(`no rule: ${JSON.stringify(value)}`);
};
const many = (type) => (...members) => ({ type, members: members.map(rule) });
const one = (type) => (content) => ({ type, content: rule(content) });
const level = (type) => (...given) => ({
  type,
  value: given.length > 1 ? given[0] : 0,
  content: rule(given.at(-1)),
});

globalThis.seq = many("SEQ");
globalThis.choice = many("CHOICE");
globalThis.repeat = one("REPEAT");
globalThis.repeat1 = one("REPEAT1");
globalThis.token = Object.assign(one("TOKEN"), { immediate: one("IMMEDIATE_TOKEN") });
globalThis.blank = () => ({ type: "BLANK" });
globalThis.optional = (content) => choice(content, blank());
globalThis.field = (name, content) => ({ type: "FIELD", name, content: rule(content) });
globalThis.prec = Object.assign(level("PREC"), {
  left: level("PREC_LEFT"),
  right: level("PREC_RIGHT"),
  dynamic: level("PREC_DYNAMIC"),
});
globalThis.grammar = (given) => {
  const $ = new Proxy({}, { get: (_, name) => ({ type: "SYMBOL", name }) });
  const list = (part) => (given[part] ? given[part]($) : []);
  const known = "name word rules extras conflicts precedences externals inline supertypes";
  const odd = Object.keys(given).filter((part) => !known.split(" ").includes(part));
  if (odd.length) throw new Error(`not understood here: ${odd}`);
  return {
    name: given.name,
    word: given.word?.($).name,
    rules: Object.fromEntries(Object.entries(given.rules).map(([n, r]) => [n, rule(r($))])),
    extras: (given.extras ? list("extras") : [/\s/]).map(rule),
    conflicts: list("conflicts").map((names) => names.map((s) => s.name)),
    precedences: list("precedences"),
    externals: list("externals").map(rule),
    inline: list("inline").map((s) => s.name),
    supertypes: list("supertypes").map((s) => s.name),
  };
};

process.stdout.write(JSON.stringify(require(path.resolve(process.argv[2]))));
