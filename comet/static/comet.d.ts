/**
 * Comet in the browser: subscribe to topics of a daemon, and publish on them.
 *
 *     const comet = new Comet();
 *     comet.subscribe("auction/*", (message) => draw(message.topic, message.data), { since: "last" });
 *
 * `/comet.js` is a classic script that defines the global `Comet`; `/comet.mjs` is a module that exports it.
 */

/** A position in the log, like `5f0c1a2b-1042`: the id of a message. Opaque, but for being one. */
export type Position = string;

/**
 * Where a subscription starts: with what comes from now on, with the oldest retained message, with the newest of each
 * topic and then what follows (a snapshot), with the newest N (`"-50"`), or after a position.
 */
export type Since = "now" | "first" | "last" | `-${number}` | Position;

/** The ways in which messages can come. */
export type Transport = "websocket" | "stream" | "sse" | "iframe" | "poll";

export interface Message<Data = any> {
  readonly id: Position;
  readonly topic: string;
  /** When it was published: seconds since 1970, by the daemon's clock. */
  readonly time: number;
  /** The JSON value if it was published as JSON, else a string if it is UTF-8 text, else its bytes (Uint8Array). */
  readonly data: Data;
}

/** Messages after `since`, up to and including `until`, may be missing: the daemon did not retain them so long. */
export interface Gap {
  readonly topics: readonly string[];
  readonly since: string;
  readonly until: Position;
}

/**
 * How things stand. `idle`: nothing is subscribed. `connecting`: on the way. `open`: messages come, by `transport`.
 * `waiting`: for the next try, in `retry` milliseconds. `closed`: for good, by `close()`.
 */
export interface State {
  readonly state: "idle" | "connecting" | "open" | "waiting" | "closed";
  /** Why, in words, where there is something to say. */
  readonly reason?: string;
  readonly transport?: Transport;
  /** Milliseconds until the next try, from when this was told. */
  readonly retry?: number;
}

export interface Options {
  /** Returns the access token, which is asked for whenever one is sent. */
  token?: () => string | Promise<string>;
  /** Those that may be used, the best first. Long poll is always the last, whether it is named or not. */
  transports?: readonly Transport[];
  /**
   * Whether the tabs of this origin share one connection; true unless said otherwise. A string shares it only with those
   * that say the same: the user's name, say, where tabs can belong to different users.
   */
  share?: boolean | string;
}

export interface SubscribeOptions {
  /** Where to start; `"now"` unless said otherwise. */
  since?: Since;
}

export interface PublishOptions {
  /** The content type of `data`, if it is a string or bytes. */
  type?: string;
  /** The idempotency key: what was published under one is not published again. Drawn at random unless given. */
  key?: string;
  /** Milliseconds after which it is given up; 30,000 unless said otherwise. */
  timeout?: number;
}

/** What `publish` rejects with if the daemon refuses, or cannot be reached in time. */
export interface CometError extends Error {
  /** The daemon's word for it (`bad_topic`, `too_large`, …), or `unreachable`. */
  readonly code: string;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
}

/** Also an async iterable of its messages, one after the other; it ends when the subscription is closed. */
export interface Subscription<Data = any> extends AsyncIterable<Message<Data>> {
  readonly topics: readonly string[];
  /** Fulfilled once messages come: what is published from then on arrives. */
  readonly ready: Promise<void>;
  close(): void;
}

/** What `on` tells of. */
export interface Told {
  state: State;
  gap: Gap;
}

export declare class Comet {
  /** `url` is where the daemon's console is, as the page sees it; the daemon that this script came from if left out. */
  constructor(url?: string | URL, options?: Options);

  /**
   * Have the messages of topics or patterns (`auction/*`, `chat/**`), each once and in order. With `handler` it is
   * called with each; without, iterate over the subscription. Throws a TypeError for what is no pattern.
   */
  subscribe<Data = any>(
    topics: string | readonly string[],
    handler?: ((message: Message<Data>) => void) | null,
    options?: SubscribeOptions,
  ): Subscription<Data>;
  subscribe<Data = any>(topics: string | readonly string[], options: SubscribeOptions): Subscription<Data>;

  /**
   * Publish `data` on `topic`: bytes (Blob, ArrayBuffer, a view) and strings as they are, anything else as JSON. What one
   * client publishes arrives in its order; it is tried again until it is stored, refused, or too late. Rejects with a
   * `CometError`.
   */
  publish(topic: string, data: unknown, options?: PublishOptions): Promise<{ id: Position }>;

  /** Be told. The state is told at once, too. Returns what ends it. */
  on<Name extends keyof Told>(name: Name, handler: (told: Told[Name]) => void): () => void;

  /** Try again now, if a try is being waited for. */
  retryNow(): void;

  /** End everything: subscriptions, connection. */
  close(): void;

  readonly state: State["state"];
  /** How messages come at the moment. */
  readonly transport: Transport | undefined;
  /** Up to where everything has come: for `since`, to go on from here later. */
  readonly lastId: Position | undefined;
}

export default Comet;
