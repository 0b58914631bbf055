// The console: a live tail over EventSource, a box to publish from, and the same as shell commands.
// What was published is only ever shown as text (textContent): it comes from anybody.

const SHOWN = 200; // messages on the page
const LONGEST = 4000; // characters of one that are shown
const RETRY = 5000; // milliseconds until a refused stream is asked for again

const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" };
const clock = new Intl.DateTimeFormat([], parts);
const at = (id) => document.getElementById(id);
const path = (topic) => "/topics/" + topic.split("/").map(encodeURIComponent).join("/");

let source;
let retrying;
let waiting = [];

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function tellState(text, className) {
  at("state").textContent = text;
  at("state").className = className;
}

// Rows are added once per frame of the screen, however many messages came.
function show(time, title, data, className) {
  waiting.push({ time, title, data, className });
  if (waiting.length === 1) requestAnimationFrame(showWaiting);
  if (waiting.length > 2 * SHOWN) waiting.splice(1, waiting.length - SHOWN);
}

function showWaiting() {
  const rows = waiting.slice(-SHOWN).map(({ time, title, data, className }) => {
    const row = element("li", className, "");
    row.append(element("time", "", clock.format(time)), element("span", "topic", title), element("span", "data", data));
    return row;
  });
  waiting = [];
  at("messages").prepend(...rows.reverse());
  while (at("messages").childElementCount > SHOWN) at("messages").lastElementChild.remove();
}

function received(event) {
  const { time, topic, data, data64 } = JSON.parse(event.data);
  const text = data64 !== undefined ? `base64 ${data64}` : typeof data === "string" ? data : JSON.stringify(data);
  show(new Date(time * 1000), topic, text.length > LONGEST ? text.slice(0, LONGEST) + "…" : text, "");
}

function told(event) {
  const control = JSON.parse(event.data);
  if (control.comet === "open") tellState("connected", "open");
  if (control.comet === "bye") tellState(`the daemon ended the stream: ${control.reason}`, "wrong");
  if (control.comet === "gap")
    show(new Date(), "gap", `Messages after ${control.since}, up to ${control.until}, may be missing.`, "wrong");
}

// EventSource does not say why it was refused: a plain request does.
async function explain(url) {
  const answer = await fetch(url + "?wait=0&transport=poll&since=now").catch(() => null);
  const problem = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  tellState(problem ? problem.detail : "not connected", "wrong");
  if (!problem || answer.status >= 500) retrying = setTimeout(listen, RETRY);
}

function listen() {
  clearTimeout(retrying);
  source?.close();
  const url = path(at("pattern").value);
  const opened = (source = new EventSource(url + "?transport=sse&since=-50"));
  tellState("connecting", "");
  opened.onmessage = received;
  opened.addEventListener("comet", told);
  opened.onerror = () => {
    if (opened !== source) return;
    if (opened.readyState === EventSource.CLOSED) explain(url);
    else tellState("connection lost; trying again", "wrong");
  };
}

async function publish() {
  const asJson = at("json").checked;
  const body = new Blob([at("data").value], { type: asJson ? "application/json" : "" });
  try {
    const answer = await fetch(path(at("topic").value), { method: "POST", body });
    const told = await answer.json();
    at("answer").textContent = answer.ok ? `published as ${told.id}` : told.detail;
    at("answer").className = answer.ok ? "" : "wrong";
  } catch (error) {
    at("answer").textContent = `not published: ${error.message}`;
    at("answer").className = "wrong";
  }
}

const shell = (text) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const inline = (text) =>
  /^[\w./:@-]+$/.test(text)
    ? text
    : `"${text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t")}"`;

function tellCommands() {
  const [pattern, topic, data] = ["pattern", "topic", "data"].map((id) => at(id).value);
  const { origin, hostname } = location;
  const port = document.documentElement.dataset.tcpPort;
  const type = at("json").checked ? "-H 'Content-Type: application/json' " : "";
  const commands = [
    ["Subscribe", `curl -N ${shell(`${origin}${path(pattern)}?transport=sse`)}`],
    ["Publish over HTTP", `curl ${type}--data-raw ${shell(data)} ${shell(origin + path(topic))}`],
  ];
  if (port) {
    const words = at("json").checked ? ["XADD", topic, "*", "data", data, "type", "application/json"] : ["PUBLISH", topic, data];
    commands.push(
      ["Publish with redis-cli", `redis-cli -h ${hostname} -p ${port} ${words.map(shell).join(" ")}`],
      ["Publish with nc", `printf '%s\\r\\n' ${shell(words.map(inline).join(" "))} | nc -N ${hostname} ${port}`],
    );
  }
  at("commands").replaceChildren(
    ...commands.flatMap(([name, command]) => {
      const told = document.createElement("dd");
      told.append(element("pre", "", command));
      return [element("dt", "", name), told];
    }),
  );
}

at("tail").addEventListener("submit", (event) => {
  event.preventDefault();
  history.replaceState(null, "", "#" + encodeURIComponent(at("pattern").value));
  at("messages").replaceChildren();
  listen();
});
at("publish").addEventListener("submit", (event) => {
  event.preventDefault();
  publish();
});
at("clear").addEventListener("click", () => at("messages").replaceChildren());
document.addEventListener("input", tellCommands);
if (location.hash.length > 1) at("pattern").value = decodeURIComponent(location.hash.slice(1));
tellCommands();
listen();
