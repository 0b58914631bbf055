// All of one message, in a dialog: whatever comes meanwhile, it stays.

import { bytes, count, dateAndTime } from "./amounts.js";
import { dump, kindOf } from "./content.js";
import { copyBy } from "./copying.js";
import { at, element } from "./elements.js";
import { coloured } from "./json.js";

/** Characters, or bytes of a dump, up to which the data is shown. It is copied whole. */
const LONGEST = 100_000;
const LONGEST_DUMP = 8_192;

let shown = "";

/** Show the message of `entry`. */
export function showWhole({ message, text }) {
  const { id, topic, time, data } = message;
  const dialog = at("whole");
  const [content, node] = CONTENTS[kindOf(data)](data, text);
  const rows = { Topic: topic, Id: id, Time: dateAndTime(time), Content: content };
  dialog
    .querySelector("dl")
    .replaceChildren(
      ...Object.entries(rows).map(([name, value]) =>
        element("div", {}, element("dt", {}, name), element("dd", {}, value)),
      ),
    );
  dialog.querySelector("pre").replaceChildren(node);
  shown = text;
  dialog.showModal();
}

copyBy(at("whole-copy"), () => shown);

const beginning = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
const partly = (size, most, unit) => (size > most ? `; the first ${count(most)} ${unit} are shown` : "");

// How each kind is described, and shown.
const CONTENTS = {
  JSON: (data) => {
    const text = JSON.stringify(data, null, 2);
    return [`JSON${partly(text.length, LONGEST, "characters")}`, coloured(beginning(text))];
  },
  text: (data) => {
    const size = new Blob([data]).size;
    return [`text, ${bytes(size)}${partly(data.length, LONGEST, "characters")}`, beginning(data)];
  },
  bytes: (data) => [
    `${count(data.length)} bytes, no UTF-8${partly(data.length, LONGEST_DUMP, "bytes")}; copied as base64`,
    dump(data.subarray(0, LONGEST_DUMP)),
  ],
};
