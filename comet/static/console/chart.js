// A small line chart of the last minutes, drawn as SVG by hand.
//
// The picture is as many units wide as the chart has seconds, and stretched to its place. A line breaks where
// nothing was heard, so that an outage is not drawn as if the time between had been even.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 40;

/** Seconds without a value over which no line is drawn. */
const BREAK = 3;

export class Chart {
  /** A chart of `lines` lines over so many `seconds`, in `place`. */
  constructor(place, lines, seconds) {
    this.seconds = seconds;
    this.points = [];
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", `0 0 ${seconds} ${HEIGHT}`);
    picture.setAttribute("preserveAspectRatio", "none");
    picture.setAttribute("aria-hidden", "true");
    const path = () => picture.appendChild(document.createElementNS(SVG, "path"));
    this.lines = Array.from({ length: lines }, path);
    this.area = path();
    this.area.setAttribute("class", "area");
    place.append(picture);
  }

  /** Remember a value for each line at a time, in seconds. */
  add(time, values) {
    const last = this.points.at(-1);
    if (last && time <= last.time) return;
    this.points.push({ time, values });
    while (this.points[0].time < time - this.seconds) this.points.shift();
  }

  /** Draw what is remembered. Returns the value at the upper edge. */
  draw() {
    const end = this.points.at(-1)?.time ?? 0;
    const most = roundUp(Math.max(...this.points.flatMap((point) => point.values)));
    const x = (point) => (this.seconds - (end - point.time)).toFixed(1);
    const y = (point, line) => (HEIGHT - 1 - (point.values[line] / most) * (HEIGHT - 3)).toFixed(1);
    const runs = unbroken(this.points);
    this.lines.forEach((path, line) => {
      const drawn = runs.map((run) => "M" + run.map((point) => `${x(point)} ${y(point, line)}`).join("L"));
      // A single point would not be seen.
      path.setAttribute("d", drawn.map((each) => (each.includes("L") ? each : `${each}h1`)).join(""));
    });
    const filled = runs.map((run) => {
      const edge = run.map((point) => `L${x(point)} ${y(point, 0)}`).join("");
      return `M${x(run[0])} ${HEIGHT}${edge}L${x(run.at(-1))} ${HEIGHT}Z`;
    });
    this.area.setAttribute("d", filled.join(""));
    return most;
  }
}

/** The points in runs of which each follows soon on the one before. */
function unbroken(points) {
  const runs = [];
  points.forEach((point, place) => {
    const isNext = place && point.time - points[place - 1].time <= BREAK;
    if (isNext) runs.at(-1).push(point);
    else runs.push([point]);
  });
  return runs;
}

/** The next of 1, 2, 5, 10, 20, 50, …: an edge that does not move with each value. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * [1, 2, 5, 10].find((step) => value <= step * power);
}
