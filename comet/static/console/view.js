// What is seen of the tail: the newest messages, and in a line how fast they come.
//
// The trap: thousands of messages a second can come, and a browser draws perhaps a thousand rows. So they are
// drawn together, a few times a second; of what came since, only the newest are, and the others are counted.

import { count, rate, timeOfDay } from "./amounts.js";
import { at, say } from "./elements.js";
import { Recent } from "./recent.js";
import { Rows, SHOWN } from "./rows.js";
import { showWhole } from "./whole.js";

/** Milliseconds from one drawing to the next, at least. */
const PERIOD = 100;

/** For how many times as long as a drawing took the browser is left alone after it. */
const REST = 3;

export class View {
  constructor() {
    this.recent = new Recent();
    this.rows = new Rows(at("messages"), showWhole);
    this.filter = "";
    this.paused = false;
    this.perSecond = 0;
    this.drawing = false;
    this.due = 0;
    this.begin("");
    setInterval(() => this.measure(), 1000);
  }

  /** Show messages of `pattern` from now on, and none that came before. */
  begin(pattern) {
    this.pattern = pattern;
    this.begun = timeOfDay(Date.now() / 1000).slice(0, 8);
    this.recent.clear();
    this.rows.clear();
    this.came = this.cameBefore = this.skipped = 0;
    this.tell();
  }

  /** Take in an entry: `{ text, message }`, or `{ text, gap: true }`. */
  add(entry) {
    if (entry.message) this.came++;
    this.recent.add(entry);
    this.drawSoon();
  }

  /** Draw nothing new, or go on. */
  pause(paused) {
    this.paused = paused;
    this.drawSoon();
    this.tell();
  }

  /** Show only those with `text` in them, of what is kept and of what comes. */
  only(text) {
    this.filter = text.toLowerCase();
    if (!this.paused) this.recent.take();
    this.rows.clear();
    this.draw(this.recent.taken());
  }

  drawSoon() {
    if (this.drawing || this.paused) return;
    this.drawing = true;
    setTimeout(() => requestAnimationFrame(() => this.drawNew()), this.due - performance.now());
  }

  drawNew() {
    const begun = performance.now();
    if (!this.paused) this.skipped += this.draw(this.recent.take());
    // The browser lays out and paints before it comes to this.
    setTimeout(() => this.rest(performance.now() - begun));
  }

  rest(took) {
    this.drawing = false;
    this.due = performance.now() + Math.max(PERIOD, REST * took);
    if (this.recent.fresh) this.drawSoon();
  }

  /** Draw the newest of `entries`. Returns how many were too many. */
  draw(entries) {
    const found = entries.filter((entry) => this.isWanted(entry));
    this.rows.add(found.slice(-SHOWN));
    this.tell();
    return Math.max(0, found.length - SHOWN);
  }

  isWanted({ gap, text, message }) {
    return gap || !this.filter || `${message.topic} ${text}`.toLowerCase().includes(this.filter);
  }

  measure() {
    this.perSecond = this.came - this.cameBefore;
    this.cameBefore = this.came;
    this.tell();
  }

  tell() {
    const skipped = this.skipped + this.recent.missed;
    const parts = [
      this.paused ? `Paused, ${count(this.recent.fresh)} waiting` : `${rate(this.perSecond)} messages/s`,
      `${count(this.came)} since ${this.begun}`,
    ];
    if (skipped) parts.push(`${count(skipped)} came too fast to be shown`);
    say(at("tally"), parts.join(" · "));
    at("tally").classList.toggle("paused", this.paused);
    at("nothing").hidden = at("messages").childElementCount > 0;
    at("example").hidden = this.recent.entries.length > 0;
    say(at("why"), this.why());
  }

  why() {
    if (!this.recent.entries.length)
      return `Nothing on ${this.pattern} yet. Publish from the box, or from a shell:`;
    return this.filter ? `None of the last messages has “${this.filter}” in it.` : "";
  }
}
