/**
 * A subscription as its user has it: messages go to a function, or wait in a queue until they are iterated over. A full
 * queue takes no more; the tail then reads them from the log later.
 */
import type { Message, Subscription } from "../comet.d.ts";
import { call } from "./listen.ts";
import { matching } from "./pattern.ts";
import type { Reader } from "./tail.ts";

/** Messages that wait to be iterated over. */
const QUEUED = 1_000;

/** Make a subscription and its reader. `drained` is called when a full queue is empty, `closed` once, at the end. */
export function subscription(
  topics: readonly string[],
  since: string,
  take: ((message: Message) => void) | null,
  drained: (reader: Reader) => void,
  closed: (reader: Reader) => void,
): [Subscription, Reader] {
  const queue: Message[] = [];
  let full = false;
  let wake: (() => void) | undefined;
  let began!: () => void;
  const ready = new Promise<void>((done) => (began = done));

  const reader: Reader = {
    topics,
    matches: matching(topics),
    cursor: since,
    began,
    hasRoom: () => !full,
    give(message) {
      // What it is called with may have made it close.
      if (reader.closed) return;
      if (take) {
        call(take, message);
      } else {
        full = queue.push(message) >= QUEUED;
        wake?.();
      }
    },
  };

  function close() {
    if (reader.closed) return;
    reader.closed = true;
    began();
    wake?.();
    closed(reader);
  }

  async function* iterate() {
    try {
      while (!reader.closed) {
        if (queue.length) yield queue.shift()!;
        else await new Promise<void>((done) => (wake = done));
        if (full && !queue.length) {
          full = false;
          drained(reader);
        }
      }
    } finally {
      close();
    }
  }

  return [{ topics, ready, close, [Symbol.asyncIterator]: iterate }, reader];
}
