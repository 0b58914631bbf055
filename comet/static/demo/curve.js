// A curve of the last minutes, on a canvas. Several lines share one scale; a line breaks where nothing was heard.
//
// The trap: a canvas has pixels of its own. It is given as many as the screen has under it, or it would be blurred there.
const BREAK = 3; // seconds without a value over which no line is drawn

export class Curve {
  // A curve over `seconds` in `place`; `most` is the value at its upper edge, or undefined to follow the values.
  constructor(place, seconds, most) {
    this.seconds = seconds;
    this.most = most;
    this.points = [];
    this.canvas = place.appendChild(document.createElement("canvas"));
    this.canvas.setAttribute("aria-hidden", "true");
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    place.addEventListener("pointermove", ({ offsetX }) => this.pointAt(offsetX / place.clientWidth));
    place.addEventListener("pointerleave", () => this.pointAt());
  }

  add(time, values) {
    this.points.push({ time, values });
    while (this.points[0].time < time - this.seconds) this.points.shift();
    this.drawSoon();
  }

  // What is pointed at, or the newest.
  chosen() {
    const end = this.points.at(-1)?.time;
    const time = end - this.seconds * (1 - this.at);
    const distance = (point) => Math.abs(point.time - time);
    return this.at === undefined ? this.points.at(-1) : this.points.toSorted((a, b) => distance(a) - distance(b))[0];
  }

  pointAt(part) {
    this.at = part;
    this.drawSoon();
    this.pointed?.();
  }

  // A history of 300 values is drawn once.
  drawSoon() {
    this.drawing ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.drawing = undefined;
    const { canvas, points, seconds } = this;
    const [width, height, density] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
    [canvas.width, canvas.height] = [width * density, height * density];
    if (!points.length) return;
    const pen = canvas.getContext("2d");
    pen.scale(density, density);
    pen.lineWidth = 1.5;
    pen.lineJoin = "round";
    const top = this.top();
    const end = points.at(-1).time;
    const x = (time) => width * (1 - (end - time) / seconds);
    const y = (value) => height - 1 - (Math.min(value, top) / top) * (height - 4);
    points[0].values.forEach((_, line) => this.trace(pen, line, x, y));
    if (this.at !== undefined) {
      pen.strokeStyle = this.colour("--faint");
      pen.beginPath();
      const [at] = [x(this.chosen().time)];
      pen.moveTo(at, 0);
      pen.lineTo(at, height);
      pen.stroke();
    }
  }

  trace(pen, line, x, y) {
    pen.strokeStyle = this.colour(line ? "--good" : "--accent");
    pen.beginPath();
    let before;
    for (const { time, values } of this.points) {
      if (before === undefined || time - before > BREAK) pen.moveTo(x(time), y(values[line]));
      else pen.lineTo(x(time), y(values[line]));
      before = time;
    }
    pen.stroke();
  }

  // The value at the upper edge: 1, 2 or 5 with noughts, so that it does not move with each value.
  top() {
    if (this.most) return this.most;
    const largest = Math.max(1e-9, ...this.points.flatMap(({ values }) => values));
    const power = 10 ** Math.floor(Math.log10(largest));
    return power * [1, 2, 5, 10].find((step) => largest <= step * power);
  }

  colour(name) {
    return getComputedStyle(this.canvas).getPropertyValue(name);
  }
}
