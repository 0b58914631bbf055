/**
 * Transport `poll`: request after request, each held until there is something. It works wherever HTTP does. The first
 * is answered at once, so that it is known early whether it does here.
 */
import type { Position } from "../../comet.d.ts";
import { ask } from "../daemon.ts";
import type { Line, Published } from "../line.ts";
import type { Run } from "./index.ts";

/** The whole answer to a poll. */
export interface Page {
  messages: Published[];
  next: Position;
  gap?: { since: string; until: Position };
  retry?: number;
}

/** What a stream would have said. */
export function linesOf({ messages, next, gap, retry }: Page): Line[] {
  return [
    ...(gap ? [{ comet: "gap" as const, ...gap }] : []),
    ...messages,
    retry === undefined ? { comet: "beat", position: next } : { comet: "bye", position: next, retry },
  ];
}

export const poll: Run = async ({ address, since, patience, signal }, take) => {
  for (let first = true; !signal.aborted; first = false) {
    const url = await address(since, first ? { wait: "0" } : {});
    const page: Page = await ask(url, { signal }, first ? undefined : patience);
    since = page.next;
    take(first ? [{ comet: "open" }, ...linesOf(page)] : linesOf(page));
    if (page.retry !== undefined) return;
  }
};
