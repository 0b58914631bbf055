/**
 * The tail of the log, as far as this tab has it, and those who read towards it.
 *
 * The tail is what a link tells, in this tab or in another. A reader that has everything up to the tail's cursor is live:
 * it is given what comes, and needs no cursor of its own. One that begins with history, has missed something or is full
 * asks for pages from its own cursor on until they reach the tail. The daemon does it in the same way.
 */
import type { Gap, Message, Position } from "../comet.d.ts";
import { pause } from "./backoff.ts";
import { type Daemon, ask } from "./daemon.ts";
import { type Line, type Published, advanced, isAfter, sameLog } from "./line.ts";
import type { Page } from "./transports/poll.ts";

/** Messages that are kept while a page is on its way. */
const KEPT = 1_000;
/** Milliseconds until a page that did not come is asked for again, at most. */
const AGAIN = 2_000;

export interface Reader {
  readonly topics: readonly string[];
  matches(topic: string): boolean;
  /** Up to where it has everything, or where it is to begin. Not kept up while it is live; pages may be ahead of it. */
  cursor: string;
  live?: boolean;
  closed?: boolean;
  reading?: boolean;
  /** What came while a page is on its way. There is none if something was missed. */
  kept?: Published[] | undefined;
  give(message: Message): void;
  hasRoom(): boolean;
  /** It is live. */
  began(): void;
}

export type Tail = ReturnType<typeof tail>;

/** A tail of nothing yet. `lost` is told of the gaps. */
export function tail(daemon: Daemon, lost: (gap: Gap) => void) {
  const readers = new Set<Reader>();
  let carried: readonly string[] = [];
  let cursor: Position | undefined;

  const isCarried = (reader: Reader) => !!cursor && reader.topics.every((topic) => carried.includes(topic));

  // Whether pages can reach the tail: in another log they can't, and the tail will soon be there.
  const canJoin = (reader: Reader) => isCarried(reader) && sameLog(reader.cursor, cursor!);

  /** Have a reader go live or read on, or leave the tail, as things stand. */
  function settle(reader: Reader) {
    if (reader.live) {
      if (!isCarried(reader)) leave(reader, cursor!);
    } else if (reader.cursor !== "now") read(reader);
    else if (isCarried(reader)) goLive(reader);
  }

  function goLive(reader: Reader) {
    reader.live = true;
    reader.began();
  }

  function leave(reader: Reader, at: Position) {
    reader.live = false;
    if (!isAfter(reader.cursor, at)) reader.cursor = at;
  }

  function pass(reader: Reader, message: Published) {
    // A page can be faster than the tail, and then has had this one.
    if (sameLog(message.id, reader.cursor) && !isAfter(message.id, reader.cursor)) return;
    reader.give(messageOf(message));
    if (!reader.hasRoom()) leave(reader, message.id);
  }

  async function read(reader: Reader) {
    if (reader.reading) return;
    reader.reading = true;
    for (let more = true; more && !reader.closed && reader.hasRoom(); ) {
      const goal = cursor;
      reader.kept = [];
      try {
        const query = { transport: "poll", wait: "0", since: reader.cursor };
        more = took(reader, await ask(await daemon.address(reader.topics, query)), goal);
      } catch {
        await pause(AGAIN * Math.random());
      }
    }
    reader.reading = false;
    reader.kept = undefined;
  }

  /** Hand over a page that was asked for when the tail stood at `goal`; returns whether to ask for the next. */
  function took(reader: Reader, page: Page, goal: Position | undefined): boolean {
    if (reader.closed) return false;
    if (page.gap) lost({ topics: reader.topics, ...page.gap });
    for (const message of page.messages) reader.give(messageOf(message));
    reader.cursor = page.next;
    const isComplete = goal && sameLog(page.next, goal) && !isAfter(goal, page.next);
    if (!isComplete || !reader.kept || !reader.hasRoom() || !isCarried(reader)) return canJoin(reader);
    goLive(reader);
    for (const message of reader.kept) if (reader.live) pass(reader, message);
    return false;
  }

  function heard(line: Line) {
    const at = advanced(cursor!, line);
    if (!line.comet) {
      for (const reader of readers) {
        if (!reader.matches(line.topic)) continue;
        if (reader.live) pass(reader, line);
        else if (reader.kept && reader.kept.push(line) > KEPT) reader.kept = undefined;
      }
    } else if (line.comet === "gap") {
      const since = line.since!;
      const until = line.until!;
      const topics = new Set<string>();
      for (const reader of readers) {
        if (!reader.live) continue;
        // One that pages have brought ahead of the tail has lost less, or nothing.
        const isAhead = isAfter(reader.cursor, since);
        if (!isAhead) for (const topic of reader.topics) topics.add(topic);
        else if (isAfter(until, reader.cursor) || !sameLog(until, reader.cursor))
          lost({ topics: reader.topics, since: reader.cursor, until });
      }
      if (topics.size) lost({ topics: [...topics], since, until });
    }
    cursor = at;
    carried = line.topics ?? carried;
    // After a gap it may be another log, which a reader has reached before.
    if (line.topics || line.comet === "gap") readers.forEach(settle);
  }

  return {
    add(reader: Reader) {
      readers.add(reader);
      settle(reader);
    },
    remove: (reader: Reader) => readers.delete(reader),
    settle,
    /** What all of the readers want. */
    topics: () => [...new Set([...readers].flatMap((reader) => reader.topics))],
    /** Take what a link has told: lines that follow on `after`. If the tail is not there, something was missed. */
    take(after: Position, lines: readonly Line[]) {
      const missed = cursor !== after;
      if (missed)
        for (const reader of readers) {
          reader.kept = undefined;
          if (reader.live) leave(reader, cursor!);
        }
      if (missed) cursor = after;
      lines.forEach(heard);
      if (missed) readers.forEach(settle);
    },
    get cursor() {
      return cursor;
    },
  };
}

function messageOf({ id, topic, time, data, data64 }: Published): Message {
  const bytes = () => Uint8Array.from(atob(data64!), (letter) => letter.charCodeAt(0));
  return { id, topic, time, data: data64 === undefined ? data : bytes() };
}
