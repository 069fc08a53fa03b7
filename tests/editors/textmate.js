// Reads files as VS Code colours them, by its own engine: one line of JSON a file, its lines as [text, scopes] pairs.
// usage: node textmate.js MODULES GRAMMAR FILE...
const fs = require("node:fs");
const path = require("node:path");
const [modules, grammarFile, ...files] = process.argv.slice(2);
const oniguruma = require(path.join(modules, "vscode-oniguruma"));
const textmate = require(path.join(modules, "vscode-textmate"));

async function main() {
  const wasm = fs.readFileSync(path.join(modules, "vscode-oniguruma", "release", "onig.wasm"));
  await oniguruma.loadWASM({ data: wasm });
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () =>
      textmate.parseRawGrammar(fs.readFileSync(grammarFile, "utf8"), grammarFile),
  });
  const grammar = await registry.loadGrammar("source.recipe");
  for (const file of files) {
    let stack = textmate.INITIAL;
    const lines = fs.readFileSync(file, "utf8").split("\n").map((line) => {
      const read = grammar.tokenizeLine(line, stack);
      stack = read.ruleStack;
      return read.tokens.map((t) => [line.slice(t.startIndex, t.endIndex), t.scopes.slice(1)]);
    });
    process.stdout.write(JSON.stringify(lines) + "\n");
  }
}

main().catch((error) => {
  process.stderr.write(String(error.stack) + "\n");
  process.exit(1);
});
