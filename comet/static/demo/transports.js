// The same messages over every transport, and how long each took. The page publishes them itself, so that both times are
// of one clock. Each row has a client of its own, which may use that transport only, and shares it with no other tab.
import Comet from "../comet.mjs";
import { milliseconds } from "./amounts.js";
import { Curve } from "./curve.js";
import { at, make } from "./dom.js";
import { showState } from "./state.js";

const TRANSPORTS = ["websocket", "stream", "sse", "iframe", "poll"];
const MEASURED = 100; // messages that the figures are of
const SECONDS = 30; // of the curve

const mine = Math.random().toString(36).slice(2);
const topic = `demo/transports/${mine}`; // two windows must not measure each other

function row(name) {
  const took = [];
  const fields = ["last", "median", "longest", "came"].map((each) => make("td", each));
  const [last, median, longest, came] = fields;
  const box = make("input");
  box.type = "checkbox";
  const place = make("div", "curve");
  const line = make("tr", "", make("th", "", make("label", "", box, name)), ...fields, make("td", "", place));
  line.dataset.transport = name;
  line.firstChild.scope = "row";
  const curve = new Curve(place, SECONDS);
  let count = 0;
  let comet;

  function take({ data }) {
    const now = performance.now();
    took.push(now - data.sent);
    if (took.length > MEASURED) took.shift();
    const sorted = took.toSorted((a, b) => a - b);
    last.textContent = milliseconds(took.at(-1));
    median.textContent = milliseconds(sorted[sorted.length >> 1]);
    longest.textContent = milliseconds(sorted.at(-1));
    came.textContent = ++count;
    curve.add(now / 1000, [took.at(-1)]);
  }

  function turn() {
    line.className = box.checked ? "" : "off";
    comet?.close();
    comet = undefined;
    if (!box.checked) return;
    comet = new Comet(undefined, { transports: [name], share: false });
    comet.on("state", ({ state, transport }) => {
      // No more than this: words would make the column wider.
      if (transport !== name) last.textContent = "…";
      line.title = transport === name ? "" : state;
    });
    comet.subscribe(topic, take);
  }

  box.checked = true;
  box.addEventListener("change", turn);
  turn();
  return line;
}

at("rows").append(...TRANSPORTS.map(row));

// -- the publisher ---------------------------------------------------------------------------------------------------

const publisher = new Comet();
showState(publisher);
publisher.subscribe(`${topic}/none`); // only so that the page shows whether the daemon is there
let sent = 0;
let paused = false;

async function publish() {
  if (!paused) {
    try {
      await publisher.publish(topic, { number: sent, sent: performance.now() }, { timeout: 5000 });
      at("sent").textContent = `${++sent} published`;
    } catch (error) {
      at("sent").textContent = `not published: ${error.message}`;
    }
  }
  setTimeout(publish, 1000 / at("rate").value);
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").textContent = paused ? "Go on" : "Pause";
});
publish();
