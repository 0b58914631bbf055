// Chromium, over the DevTools protocol.

export const startedDark = false;

export const options = () => ({
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
  ],
});

export async function prepare(tab, dark) {
  const { page } = tab;
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
  tab.devtools = await page.createCDPSession();
  await tab.devtools.send("Network.enable");
  tab.devtools.on("Network.webSocketCreated", ({ url }) => tab.seen.requests.push(url));
  page.on("pageerror", (error) => tab.seen.errors.push(error.stack ?? String(error)));
  // The console is told of everything else: of answers that are errors, of violated policies, of servers not found.
  page.on("console", (said) => said.type() === "error" && see(tab.seen, said));
}

export async function freeze({ devtools }, frozen) {
  await devtools.send("Page.setWebLifecycleState", { state: frozen ? "frozen" : "active" });
}

function see({ errors, failures }, said) {
  const text = said.args().map(shown).join(" ") || said.text();
  const { url } = said.location();
  const failed = /net::ERR_(?!BLOCKED)|^WebSocket connection to .* failed/.test(text);
  (failed ? failures : errors).push(url ? `${text} (${url})` : text);
}

function shown(handle) {
  const { value, description } = handle.remoteObject();
  return String(value ?? description);
}
