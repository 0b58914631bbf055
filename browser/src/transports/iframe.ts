/**
 * Transport `iframe`: a document that never ends, in a hidden frame; its scripts hand the objects to this page. One of
 * the same origin calls a function here, one of another posts them to this origin alone.
 */
import type { Line } from "../line.ts";
import { listen } from "../listen.ts";
import type { Run } from "./index.ts";

let frames = 0;

export const iframe: Run = async ({ address, origin, since, signal }, take) => {
  const callback = "comet" + ++frames;
  const here = origin === location.origin;
  const url = await address(since, here ? { callback } : { origin: location.origin });
  if (signal.aborted) return;
  const page = globalThis as unknown as Record<string, (lines: Line[]) => void>;
  const frame = document.createElement("iframe");
  // What is made in the frame is of another realm: no `instanceof Object` here.
  page[callback] = (lines) => take(structuredClone(lines));
  const unheard = listen(globalThis, "message", ({ source, data }) => source === frame.contentWindow && take(data));
  await new Promise((ended) => {
    listen(signal, "abort", ended);
    frame.onload = ended;
    frame.hidden = true;
    frame.src = url;
    document.body.append(frame);
  });
  frame.remove();
  unheard();
  delete page[callback];
};
