/**
 * Transport `sse`: Server-Sent Events (HTML Standard, section 9.2.5), which some proxies let through where they hold
 * back other streams.
 *
 * Not by `EventSource`: that keeps the heartbeats to itself, and so cannot tell a quiet stream from a dead one.
 */
import type { Line } from "../line.ts";
import type { Run } from "./index.ts";
import { lines } from "./stream.ts";

/** Returns what takes line after line, and returns what each completes: an object, or nothing. */
export function parser(): (text: string) => Line[] {
  let id = "";
  let data = "";
  return (text) => {
    if (text) {
      if (text.startsWith("id: ")) id = text.slice(4);
      if (text.startsWith("data: ")) data = text.slice(6);
      return [];
    }
    // A heartbeat is a position and no data.
    const made: Line[] = data ? [JSON.parse(data)] : id ? [{ comet: "beat", position: id }] : [];
    id = data = "";
    return made;
  };
}

export const sse: Run = async ({ address, since, signal }, take) => {
  const parse = parser();
  return lines(await address(since), signal, (texts) => take(texts.flatMap(parse)));
};
