/**
 * The table of transports: each is a function that takes what the daemon says until it ends, or until its signal is
 * aborted. It does not try again, and knows nothing of the others.
 */
import type { Position, Transport } from "../../comet.d.ts";
import type { Line } from "../line.ts";
import { iframe } from "./iframe.ts";
import { poll } from "./poll.ts";
import { sse } from "./sse.ts";
import { stream } from "./stream.ts";
import { websocket } from "./websocket.ts";

export interface Asked {
  /** Returns the address that asks for everything after a position by this transport. */
  address(since: Position, query?: Record<string, string>): Promise<string>;
  /** The daemon's. */
  origin: string;
  /** Where to begin. */
  since: Position;
  /** The longest that a held poll may take, in milliseconds. */
  patience: number;
  signal: AbortSignal;
}

/** Fulfilled when it is over; rejected with the reason if that was a failure. */
export type Run = (asked: Asked, take: (lines: Line[]) => void) => Promise<unknown>;

/** The best first. */
export const transports: Record<Transport, Run> = { websocket, stream, sse, iframe, poll };
