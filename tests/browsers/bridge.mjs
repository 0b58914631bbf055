// node bridge.mjs chromium|firefox PROGRAM: a browser without a window, driven over the standard streams.
//
// Each line read is a question, {"id": 7, "ask": "open", …}; it is answered with {"id": 7, "value": …} or, if it cannot
// be, {"id": 7, "error": "why"}. The browser ends with the input, and so with whoever asks, however that one ends.

import { createInterface } from "node:readline";
import { Puppet } from "./puppet.mjs";

const [name, program] = process.argv.slice(2);
const browser = new Puppet(await import(`./${name}.mjs`), program);

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

async function answer({ id, ask, ...question }) {
  try {
    say({ id, value: (await browser[ask](question)) ?? null });
  } catch (error) {
    say({ id, error: String(error.message ?? error) });
  }
}

for await (const line of createInterface({ input: process.stdin })) void answer(JSON.parse(line));
await browser.end();
