// One file for the client with all that it needs, the grammar and the licence beside it: what is packed is `dist`, `syntaxes`
// and what `.vscodeignore` names.
const fs = require("node:fs");
const path = require("node:path");
const esbuild = require("esbuild");

const syntaxes = path.join(__dirname, "syntaxes");
fs.mkdirSync(syntaxes, { recursive: true });
fs.copyFileSync(
  path.join(__dirname, "..", "recipe.tmLanguage.json"),
  path.join(syntaxes, "recipe.tmLanguage.json"),
);

fs.copyFileSync(path.join(__dirname, "..", "..", "LICENSE"), path.join(__dirname, "LICENSE"));

esbuild.buildSync({
  absWorkingDir: __dirname,
  entryPoints: ["extension.js"],
  outfile: "dist/extension.js",
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  external: ["vscode"],
  minify: true,
  logLevel: "warning",
});
