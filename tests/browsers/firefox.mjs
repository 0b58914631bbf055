// Firefox, over WebDriver BiDi, which knows less: colours are a preference of the whole browser, and pages are never frozen.

export const startedDark = true;

export const options = (dark) => ({
  browser: "firefox",
  extraPrefsFirefox: {
    "layout.css.prefers-color-scheme.content-override": dark ? 0 : 1,
    "dom.events.testing.asyncClipboard": true,
    "network.proxy.type": 0,
  },
});

export function prepare(tab) {
  const { page } = tab;
  page.on("pageerror", (error) => told(tab.seen, error.stack ?? String(error)));
  page.on("console", (said) => said.type() === "error" && tab.seen.errors.push(said.text()));
  page.on("response", (response) => refused(response) && tab.seen.errors.push(`${response.status()} ${response.url()}`));
  page.on("requestfailed", (request) => see(tab.seen, request));
}

export function freeze() {
  throw new Error("Firefox cannot freeze a page");
}

// Firefox tells of servers that it did not reach as if the page had thrown something.
const UNREACHED = /\(Reason: CORS request did not succeed\)|^Error: (Firefox can’t establish a |The )connection to .*ws/;

function told({ errors, failures }, text) {
  (UNREACHED.test(text) ? failures : errors).push(text);
}

const refused = (response) => response.status() >= 400;

// What the page itself gave up is nobody's failure.
function see({ failures }, request) {
  const { errorText } = request.failure() ?? {};
  if (!/NS_BINDING_ABORTED/.test(errorText)) failures.push(`${errorText} ${request.url()}`);
}
