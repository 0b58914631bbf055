// Open streams: those that are behind, as the daemon reports them each second; then the oldest, which it
// lists when it is asked.

import { bytes, count, duration, many } from "./amounts.js";
import { at, element, say, showRows } from "./elements.js";
import { listed, whileSeen } from "./polling.js";

const SHOWN = 100;

/** Seconds from one list to the next. */
const PERIOD = 3;

/** Show the streams; a pattern of one that is clicked is given to `tail`. */
export function showStreams(comet, daemon, tail) {
  const section = at("streams");
  const body = section.querySelector("tbody");
  const [transport, state] = [at("stream-transport"), at("stream-state")];
  let slow = [];
  let others = { streams: [], more: false };

  const rowsOf = {
    key: (stream) => `${stream.stream} ${stream.address}`,
    make: row,
    fill: (made, stream) => fill(made, stream, tail),
  };
  const isWanted = (stream) =>
    (!transport.value || stream.transport === transport.value) &&
    (!state.value || stream.state === state.value);

  async function ask() {
    const query = { limit: SHOWN, transport: transport.value, state: state.value };
    const found = await listed(daemon.home, "stats/streams", query);
    if (!found || query.transport !== transport.value || query.state !== state.value) return;
    others = found;
    draw();
  }

  function draw() {
    const reported = new Set(slow.map(rowsOf.key));
    const further = others.streams.filter((stream) => !reported.has(rowsOf.key(stream)));
    const inOrder = [...slow, ...further].filter(isWanted);
    showRows(body, inOrder.slice(0, SHOWN), rowsOf);
    const shown = Math.min(inOrder.length, SHOWN);
    const isMore = others.more || inOrder.length > SHOWN;
    say(section.querySelector(".below"), summary(shown, isMore, transport.value || state.value));
  }

  const askNow = whileSeen(section, PERIOD, ask);
  for (const choice of [transport, state])
    choice.addEventListener("change", () => {
      draw();
      askNow();
    });
  comet.subscribe("$stats/streams", ({ data }) => {
    slow = data.streams;
    draw();
  });
}

function summary(shown, isMore, isChosen) {
  if (!shown) return isChosen ? "No stream is so." : "No stream is open.";
  return isMore ? `The first ${count(shown)}, those behind in front; there are more.` : many(shown, "stream");
}

function row({ stream }) {
  const cell = (name, ...children) => element("td", { role: "cell", class: name }, ...children);
  const small = (name) => element("small", { class: name });
  return element(
    "tr",
    { role: "row" },
    cell("who", element("strong", { title: `stream ${stream}` }), " ", small("address")),
    cell("patterns"),
    cell("how", element("span", { class: "badge" }), " ", small("pace"), " ", small("treatment")),
    cell("number behind", element("span"), " ", small("size")),
    cell("number age"),
  );
}

function fill(made, stream, tail) {
  const put = (selector, text) => say(made.querySelector(selector), text);
  const { messages, bytes: size, more } = stream.behind;
  put(".who strong", stream.transport);
  put(".address", stream.address);
  put(".badge", stream.state);
  made.querySelector(".badge").dataset.state = stream.state;
  put(
    ".pace",
    [stream.conflate ? "conflated" : "", stream.pace ? `every ${count(stream.pace)} ms` : ""].join(" "),
  );
  put(".treatment", stream.treatment ?? "");
  put(".behind span", messages || more ? `${count(messages)}${more ? "+" : ""}` : "–");
  put(".size", size ? bytes(size) : "");
  put(".age", duration(stream.age));
  fillPatterns(made.querySelector(".patterns"), stream, tail);
}

function fillPatterns(cell, { patterns, pattern_count: all }, tail) {
  const text = patterns.join("\n");
  if (cell.dataset.text === text) return;
  cell.dataset.text = text;
  const rest = all - patterns.length;
  cell.replaceChildren(...patterns.map((each) => pattern(each, tail)));
  if (rest > 0) cell.append(`and ${count(rest)} more`);
}

function pattern(text, tail) {
  const made = element("button", { type: "button", class: "plain topic", title: "show its messages" }, text);
  made.addEventListener("click", () => tail(text));
  return made;
}
