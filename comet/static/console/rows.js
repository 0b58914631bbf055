// The rows of the tail: the newest on top, as many as are shown, walked through by the arrow keys.

import { dateAndTime, timeOfDay } from "./amounts.js";
import { kindOf, preview } from "./content.js";
import { element } from "./elements.js";
import { coloured } from "./json.js";

/** Rows that are shown. */
export const SHOWN = 200;

/** Characters of the data in a row. */
const LONGEST = 400;

export class Rows {
  /** Rows in `list`; the entry of one that is chosen is given to `choose`. */
  constructor(list, choose) {
    this.list = list;
    this.entries = new WeakMap();
    list.addEventListener("click", (click) => {
      const row = click.target.closest("li");
      if (this.entries.has(row)) choose(this.entries.get(row));
    });
    list.addEventListener("keydown", (press) => this.walk(press));
  }

  /** Put `entries`, the oldest first, above the others. */
  add(entries) {
    this.list.prepend(...entries.map((entry) => this.row(entry)).reverse());
    while (this.list.childElementCount > SHOWN) {
      const last = this.list.lastElementChild;
      if (last.contains(document.activeElement)) this.list.focus();
      last.remove();
    }
  }

  clear() {
    if (this.list.contains(document.activeElement)) this.list.focus();
    this.list.replaceChildren();
  }

  row(entry) {
    if (entry.gap) return element("li", { class: "gap" }, element("strong", {}, "Gap"), " ", entry.text);
    const { topic, time, data } = entry.message;
    const shown = preview(data, entry.text, LONGEST);
    const isJson = kindOf(data) === "JSON";
    const button = element(
      "button",
      { type: "button", class: "message", tabindex: "-1" },
      element("time", { title: dateAndTime(time) }, timeOfDay(time)),
      element("span", { class: "topic" }, topic),
      element("span", { class: "data" }, isJson ? coloured(shown) : shown),
    );
    const made = element("li", {}, button);
    this.entries.set(made, entry);
    return made;
  }

  walk(press) {
    const buttons = [...this.list.querySelectorAll("button")];
    const place = buttons.indexOf(document.activeElement);
    const places = {
      ArrowDown: place + 1,
      ArrowUp: Math.max(place - 1, 0),
      Home: 0,
      End: buttons.length - 1,
    };
    const next = buttons[places[press.key]];
    if (!next) return;
    press.preventDefault();
    next.focus();
  }
}
