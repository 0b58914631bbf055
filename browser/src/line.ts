/**
 * What the daemon says, one object a line: messages, and control, which has a member `comet`. And the arithmetic of
 * positions: `<epoch>-<offset>`, where offsets can be compared within an epoch, and an epoch is the life of one log.
 */
import type { Position } from "../comet.d.ts";

/** A message as it comes; `data64` is in its place what is no UTF-8. */
export interface Published {
  comet?: undefined;
  topics?: undefined;
  id: Position;
  topic: string;
  time: number;
  data?: unknown;
  data64?: string;
}

/** What is said in-band beside the messages. */
export interface Control {
  comet: "open" | "beat" | "gap" | "topics" | "bye";
  position?: Position;
  /** The id of the stream, and its longest time without a byte, in seconds. */
  stream?: string;
  silence?: number;
  /** `topics`, and `open` as the link tells it: the patterns that are carried from here on. */
  topics?: readonly string[];
  since?: string;
  until?: Position;
  /** How long to stay away, in milliseconds. */
  retry?: number;
  reason?: string;
}

export type Line = Published | Control;

const epochOf = (position: Position) => position.replace(/\d+$/, "");
const offsetOf = (position: Position) => +position.slice(epochOf(position).length);

/** Whether both are of one log. */
export const sameLog = (one: Position, other: Position) => epochOf(one) === epochOf(other);

/** Whether `one` stands behind `other` in the same log. */
export const isAfter = (one: Position, other: Position) => sameLog(one, other) && offsetOf(one) > offsetOf(other);

/**
 * Where a cursor stands after `line`: everything up to there has come. A message that does not move it is an old one.
 *
 * A gap's end is no cursor: messages that are retained may stand in the gap, and follow it. But what begins another log
 * begins with its first message, and what was ahead of the log's end goes back to it.
 */
export function advanced(cursor: Position, line: Line): Position {
  if (line.comet === "gap") {
    const until = line.until!;
    return sameLog(until, cursor) ? (isAfter(cursor, until) ? until : cursor) : epochOf(until) + "0";
  }
  const position = line.comet ? line.position : line.id;
  return position && isAfter(position, cursor) ? position : cursor;
}
