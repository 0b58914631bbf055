// A dashboard of the machine that the daemon runs on. Each row of CARDS is a curve: which values a message has for it,
// and how they are told. The history comes from the log, so there is nothing to store here, and nothing to poll.
import Comet from "../comet.mjs";
import { bytes, percent, plain } from "./amounts.js";
import { Curve } from "./curve.js";
import { at, make } from "./dom.js";
import { showState } from "./state.js";

const SECONDS = 300;

const MACHINE = [
  {
    title: "Processors",
    values: ({ cores }) => cores?.length && [cores.reduce((sum, each) => sum + each, 0) / cores.length / 100],
    tell: ([busy]) => `${percent(busy)} busy`,
    more: ({ cores }) => cores.map((each, index) => `${index}: ${percent(each / 100)}`).join(", "),
    most: 1,
  },
  {
    title: "Load",
    values: ({ load }) => load && [load[0]],
    tell: ([one]) => plain(one),
    more: ({ load }) => `over 5 minutes ${plain(load[1])}, over 15 minutes ${plain(load[2])}`,
  },
  {
    title: "Memory",
    values: ({ memory }) => memory?.total && [memory.used / memory.total],
    tell: ([used]) => `${percent(used)} used`,
    more: ({ memory }) => `${bytes(memory.used)} of ${bytes(memory.total)}`,
    most: 1,
  },
  {
    title: "Network, in and out",
    values: ({ network }) => network && [network.in, network.out],
    tell: ([into, out]) => `${bytes(into)}/s, ${bytes(out)}/s`,
    top: (most) => `${bytes(most)}/s`,
  },
  {
    title: "Disk, read and written",
    values: ({ disk }) => disk && [disk.read, disk.written],
    tell: ([read, written]) => `${bytes(read)}/s, ${bytes(written)}/s`,
    more: ({ space }) => `${bytes(space.free)} of ${bytes(space.total)} free`,
    top: (most) => `${bytes(most)}/s`,
  },
];

const DAEMON = [
  {
    title: "Comet: published and delivered",
    values: ({ rates }) => rates && [rates.published, rates.delivered],
    tell: ([published, delivered]) => `${plain(published)}/s, ${plain(delivered)}/s`,
    top: (most) => `${plain(most)}/s`,
  },
];

// Returns what takes a message, and shows it on the cards.
function shown(cards) {
  const drawn = cards.map((card) => {
    const place = make("div", "curve");
    const most = make("span", "most");
    const value = make("output");
    const more = make("p", "more");
    const section = make("section", "card panel", make("h2", "", card.title), value, more, place);
    const curve = new Curve(place, SECONDS, card.most);
    const newest = {};
    place.append(most);
    section.hidden = true; // until there is something to show
    at("charts").append(section);

    const tell = () => {
      const chosen = curve.chosen();
      value.textContent = card.tell(chosen.values);
      most.textContent = card.most ? "" : (card.top ?? plain)(curve.top());
      const when = curve.at === undefined ? "" : new Date(chosen.time * 1000).toLocaleTimeString();
      more.textContent = when || (card.more?.(newest.data) ?? "");
    };
    curve.pointed = tell;
    return (message) => {
      const values = card.values(message.data);
      if (!values) return;
      section.hidden = false;
      newest.data = message.data;
      curve.add(message.time, values);
      tell();
    };
  });
  return (message) => drawn.forEach((take) => take(message));
}

// Anybody may publish here. What is no object has no figures.
const isFigures = ({ data }) => data !== null && typeof data === "object";

const comet = new Comet();
const show = shown(MACHINE);
showState(comet);
comet.subscribe("$stats/daemon", shown(DAEMON), { since: `-${SECONDS}` });
comet.subscribe("demo/machine", take, { since: `-${SECONDS}` });

function take(message) {
  if (!isFigures(message)) return;
  at("empty").hidden = true;
  show(message);
}
