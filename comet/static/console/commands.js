// The same in other languages: how a shell, a page or a Redis client subscribes and publishes.
//
// The trap: what is typed ends up in somebody's shell. Whatever is not plainly harmless is quoted.

const HARMLESS = /^[\w./:@%+,-]+$/;
const ESCAPES = { "\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** A word of a POSIX shell. */
const shell = (text) => (HARMLESS.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A word of a RESP command that is a line of text. */
const inline = (text) =>
  HARMLESS.test(text) ? text : `"${text.replace(/[\\"\n\r\t]/g, (letter) => ESCAPES[letter])}"`;

const command = (...words) => words.map(shell).join(" ");

/** Lines that are sent by nc, which is given `options`. */
const sent = (lines, ...options) =>
  `${command("printf", "%s\\r\\n", ...lines)} | ${command("nc", ...options)}`;

const path = (topic) => `topics/${topic.split("/").map(encodeURIComponent).join("/")}`;

/** Curl takes segments of dots for a way up, unless it is told not to. */
const dots = (topic) => (topic.split("/").some((segment) => /^\.\.?$/.test(segment)) ? ["--path-as-is"] : []);

/** The `words`, if there is a `value`. */
const given = (value, ...words) => (value ? words : []);

/** How to have the messages of a pattern. `daemon` is `{ home, tcp }`, as the page has it. */
export function subscribing({ home, tcp }, { pattern, since }) {
  const place = since === "now" ? "" : `&since=${encodeURIComponent(since)}`;
  const url = `${home}${path(pattern)}?transport=stream${place}`;
  const commands = [
    { name: "curl", text: command("curl", "-N", ...dots(pattern), url) },
    { name: "JavaScript", text: script(home, listening(pattern, since)) },
    {
      name: "comet",
      text: `${command("comet", "sub", "--url", `${home}`, `--since=${since}`)} -- ${command(pattern)}`,
    },
  ];
  if (tcp && since === "now") commands.push(...overRedis(tcp, pattern));
  if (home.protocol === "http:") commands.push({ name: "nc", text: requested(home, url) });
  return commands;
}

/** A Redis client hears what comes from now on. Of a pattern it would take some letters for wildcards. */
function overRedis({ host, port }, pattern) {
  const isTopic = !pattern.includes("*");
  if (!isTopic && /[?[\\]/.test(pattern)) return [];
  const words = [isTopic ? "SUBSCRIBE" : "PSUBSCRIBE", pattern];
  return [{ name: "redis-cli", text: command("redis-cli", "-h", host, "-p", port, ...words) }];
}

function listening(pattern, since) {
  const options = since === "now" ? "" : `, { since: ${JSON.stringify(since)} }`;
  const print = "(message) => console.log(message.topic, message.data)";
  return `comet.subscribe(${JSON.stringify(pattern)}, ${print}${options});`;
}

/** A request by hand. */
function requested(home, url) {
  const request = [`GET ${url.slice(home.origin.length)} HTTP/1.0`, `Host: ${home.host}`, ""];
  return sent(request, bare(home.hostname), home.port || "80");
}

const bare = (hostname) => hostname.replace(/^\[|\]$/g, "");

/** How to publish a message. */
export function publishing({ home, tcp }, { topic, data, isJson, key }) {
  const headers = [
    ...given(isJson, "-H", "Content-Type: application/json"),
    ...given(key, "-H", `Idempotency-Key: ${key}`),
  ];
  const commands = [
    {
      name: "curl",
      text: command("curl", ...headers, "--data-raw", data, ...dots(topic), `${home}${path(topic)}`),
    },
    { name: "JavaScript", text: script(home, sending(topic, data, isJson, key)) },
  ];
  return tcp ? [...commands, ...overTcp(tcp, { topic, data, isJson, key })] : commands;
}

function overTcp({ host, port }, { topic, data, isJson, key }) {
  const further = [...given(isJson, "type", "application/json"), ...given(key, "key", key)];
  const words = further.length ? ["XADD", topic, "*", "data", data, ...further] : ["PUBLISH", topic, data];
  const options = [...given(isJson, "--json"), ...given(key, `--key=${key}`)];
  const server = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const commands = [
    { name: "redis-cli", text: command("redis-cli", "-h", host, "-p", port, ...words) },
    { name: "nc", text: sent([words.map(inline).join(" ")], "-N", host, port) },
  ];
  // To `comet pub` a dash is what it reads.
  if (data !== "-")
    commands.push({
      name: "comet",
      text: `${command("comet", "pub", "--server", server, ...options)} -- ${command(topic, data)}`,
    });
  return commands;
}

function sending(topic, data, isJson, key) {
  const value = isJson ? asScript(data) : undefined;
  const options = [
    ...given(isJson && value === undefined, 'type: "application/json"'),
    ...given(key, `key: ${JSON.stringify(key)}`),
  ].join(", ");
  const values = [JSON.stringify(topic), value ?? JSON.stringify(data), ...given(options, `{ ${options} }`)];
  return `await comet.publish(${values.join(", ")});`;
}

/** JSON is an expression of JavaScript, unless it is none; but a text would be published as a text. */
function asScript(data) {
  try {
    return typeof JSON.parse(data) === "string" ? undefined : data.trim();
  } catch {
    return undefined;
  }
}

const script = (home, line) =>
  `import { Comet } from ${JSON.stringify(`${home}comet.mjs`)};\nconst comet = new Comet();\n${line}`;
