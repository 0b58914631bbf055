// The daemon in numbers, from its report of each second: tiles with a chart, and a line of facts.
//
// Rates are the difference of two reports, because those in a report are means of ten seconds.

import { brief, bytes, count, duration, many, rate } from "./amounts.js";
import { Chart } from "./chart.js";
import { at, element, say } from "./elements.js";

const MINUTES = 3;

const sum = (counts) => Object.values(counts).reduce((all, each) => all + each, 0);
const open = (report) => sum(report.subscriptions);
const listed = (counts) =>
  Object.entries(counts)
    .sort(([, one], [, other]) => other - one)
    .map((entry) => `${entry[0]} ${count(entry[1])}`)
    .join(", ");

const percent = (share) => `${rate(share * 100)} %`;
const arrows = (values, show) => `↓ ${show(values[0])} ↑ ${show(values[1])}`;

// Each tile: what its lines show, of a report and the rates since the one before; how that reads, as a figure
// and at the upper edge of the chart; and what is noted below.
const TILES = [
  {
    title: "Published",
    unit: "messages/s",
    values: (report, rates) => [rates.published],
    show: ([value]) => rate(value),
    edge: rate,
    note: (report) => `${count(report.published)} in all`,
  },
  {
    title: "Delivered",
    unit: "messages/s",
    values: (report, rates) => [rates.delivered],
    show: ([value]) => rate(value),
    edge: rate,
    note: (report) => `${count(sum(report.delivered))} in all`,
  },
  {
    title: "Bytes/s in and out",
    unit: "",
    lines: 2,
    values: (report, rates) => [rates.received_bytes, rates.delivered_bytes],
    show: (values) => arrows(values, bytes),
    edge: bytes,
    note: (report) => arrows([sum(report.received_bytes), sum(report.delivered_bytes)], bytes) + " in all",
  },
  {
    title: "Streams",
    unit: "open",
    values: (report) => [open(report)],
    show: ([value]) => count(value),
    edge: rate,
    note: (report) => listed(report.subscriptions) || "none",
  },
  {
    title: "Memory",
    unit: "",
    values: (report) => [report.memory],
    show: ([value]) => bytes(value),
    edge: bytes,
    note: (report) => `${bytes(report.retained_bytes)} in ${many(report.retained, "message")}`,
  },
  {
    title: "Processor",
    unit: "of a core",
    values: (report) => [report.cpu * 100],
    show: ([value]) => percent(value / 100),
    edge: (value) => `${rate(value)} %`,
    note: ({ flush }) => (flush.p99 === null ? "nothing to flush" : `99 % of flushes in ${brief(flush.p99)}`),
  },
];

// Those that mean trouble are marked once they are not 0.
const FACTS = [
  { title: "Uptime", value: (report) => duration(report.uptime) },
  { title: "Version", value: (report) => report.version },
  { title: "Topics", value: (report) => count(report.topics) },
  {
    title: "Connections",
    value: ({ connections }) => `HTTP ${count(connections.http)}, TCP ${count(connections.tcp)}`,
  },
  {
    title: "Files",
    value: ({ descriptors }) => `${count(descriptors.open)} of ${count(descriptors.allowed)}`,
  },
  {
    title: "Reactor lag",
    value: (report) => brief(report.reactor_lag_max),
    trouble: (report) => report.reactor_lag_max > 0.1,
  },
  { title: "Reading", value: (report) => count(report.reading) },
  { title: "Stuck", value: (report) => count(report.stuck), trouble: (report) => report.stuck },
  { title: "Gaps", value: (report) => count(report.gaps), trouble: (report) => report.gaps },
  { title: "Stalled", value: (report) => count(report.stalled), trouble: (report) => report.stalled },
  {
    title: "Refused",
    value: ({ refused }) => listed(refused) || "0",
    trouble: ({ refused }) => sum(refused),
  },
];

/** Show the figures, as `comet` brings them. */
export function showFigures(comet) {
  const tiles = TILES.map(tile);
  const facts = FACTS.map(fact);
  let last;
  let drawing = 0;

  function draw() {
    drawing = 0;
    for (const each of tiles) each.draw(last);
    for (const each of facts) each(last);
  }

  function take({ data: report }) {
    const rates = ratesBetween(last, report);
    last = report;
    for (const each of tiles) each.add(report, rates);
    drawing ||= requestAnimationFrame(draw);
  }

  // What was reported to others in the last minutes is still there.
  comet.subscribe("$stats/daemon", take, { since: `-${60 * MINUTES}` });
}

function tile({ title, unit, lines = 1, values, show, edge, note }) {
  const value = element("strong", {}, "–");
  const upper = element("span", { class: "edge" });
  const beside = element("dd", { class: "faint note" }, "\u00a0");
  const place = element("dd", { class: "chart" }, upper);
  at("tiles").append(
    element(
      "div",
      { class: `tile lines-${lines}` },
      element("dt", {}, title),
      element("dd", {}, value, " ", element("small", {}, unit)),
      beside,
      place,
    ),
  );
  const chart = new Chart(place, lines, 60 * MINUTES);
  let newest = [];
  return {
    add(report, rates) {
      newest = values(report, rates);
      chart.add(report.time, newest);
    },
    draw(report) {
      say(value, show(newest));
      say(beside, note(report));
      beside.title = beside.textContent;
      say(upper, edge(chart.draw()));
    },
  };
}

function fact({ title, value, trouble = () => false }) {
  const told = element("dd", {}, "–");
  const place = element("div", {}, element("dt", {}, title), told);
  at("facts").append(place);
  return (report) => {
    say(told, value(report));
    place.classList.toggle("trouble", Boolean(trouble(report)));
  };
}

const counted = (report) => ({
  published: report.published,
  delivered: sum(report.delivered),
  delivered_bytes: sum(report.delivered_bytes),
  received_bytes: sum(report.received_bytes),
});

/** What happened a second between two reports of one process; if they are not, what the second one says. */
function ratesBetween(before, now) {
  const seconds = now.time - before?.time;
  if (!(seconds > 0 && seconds < 30) || now.uptime < before.uptime) return now.rates;
  const [earlier, later] = [counted(before), counted(now)];
  const rateOf = (name) => Math.max(0, later[name] - earlier[name]) / seconds;
  return Object.fromEntries(Object.keys(later).map((name) => [name, rateOf(name)]));
}
