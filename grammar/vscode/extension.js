// Starts `alchemist lsp` and hands the editor's questions on to it.
const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function start() {
  const command = vscode.workspace.getConfiguration("recipe").get("server.command", "alchemist");
  client = new LanguageClient(
    "recipe",
    "Alchemist recipes",
    { command, args: ["lsp"] },
    { documentSelector: [{ language: "recipe" }] },
  );
  try {
    await client.start();
  } catch (error) {
    client = undefined;
    vscode.window.showWarningMessage(
      `\`${command} lsp\` does not start, so there are colours only: ${error.message}. ` +
        "Install alchemist-dsl, or set `recipe.server.command` to where it is.",
    );
  }
}

async function stop() {
  const running = client;
  client = undefined;
  await running?.stop();
}

async function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand("recipe.restart", async () => {
      await stop();
      await start();
    }),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
