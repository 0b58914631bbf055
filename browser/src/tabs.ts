/**
 * One link for all tabs of an origin. Whoever holds the lock leads: it has the link, carries what all of them want, and
 * repeats on a BroadcastChannel what it is told. The lock goes to the next when its tab closes; a tab that is about to be
 * frozen gives it up, and from one that does not answer any more it is taken.
 *
 * A new leader goes on from where it has heard the old one; a follower that has missed something sees it from the
 * position that lines follow on, and reads what is missing by itself. So nothing is lost however they change.
 *
 * The trap: a tab that was frozen or robbed of the lock may speak for some moments before it knows. Only the last who
 * said that it leads is listened to.
 */
import type { Position, State } from "../comet.d.ts";
import type { Line } from "./line.ts";
import { listen } from "./listen.ts";
import type { Link, Listener } from "./link.ts";

/** Milliseconds of a leader's silence after which it is asked to speak, and again after which it is given up. */
const QUIET = 2_500;

/** What is said on the channel. All of it is from a tab; the members say what. */
interface Said {
  from: string;
  /** A follower: what it wants; nothing if it goes. */
  want?: readonly string[];
  /** A follower: speak. */
  ping?: true;
  /** A follower: try again now. */
  retry?: true;
  /** The leader: that it leads, and how things stand; `anew` if it has just begun. */
  lead?: { anew: boolean; cursor: Position | undefined; carried: readonly string[] | undefined };
  /** The leader: lines that follow on a position. */
  lines?: [Position, Line[]];
  state?: State | undefined;
}

/** Whether tabs can share here. */
export const canShare = () => globalThis.navigator?.locks && globalThis.BroadcastChannel;

/** A link that is shared under `name`. `make` makes one for who leads; `cursor` is where this tab stands. */
export function tabs(
  name: string,
  make: (listener: Listener, cursor: Position | undefined) => Link,
  listener: Listener,
  cursor: () => Position | undefined,
): Link {
  const me = Math.random().toString(36).slice(2);
  const channel = new BroadcastChannel(name);
  const others = new Map<string, readonly string[]>();
  const guarded = new Set<string>();

  let wanted: readonly string[] = [];
  let mine: Link | undefined;
  let leader = "";
  let state: State | undefined;
  let carried: readonly string[] | undefined;
  let asked = false;
  let heard = Date.now();
  let looked = heard;
  let queued = new AbortController();
  let resign: (() => void) | undefined;
  let depart: (() => void) | undefined;
  let closed = false;

  const say = (what: Omit<Said, "from">) => closed || channel.postMessage({ from: me, ...what });

  // -- to lead --------------------------------------------------------------------------------------------------------

  const unite = () => mine?.want([...new Set([wanted, ...others.values()].flat())]);

  function lead() {
    leader = me;
    mine = make(
      {
        lines(after, lines) {
          for (const line of lines) carried = line.topics ?? carried;
          listener.lines(after, lines);
          say({ lines: [after, lines] });
        },
        state(now) {
          state = now;
          listener.state(now);
          say({ state: now });
        },
      },
      cursor(),
    );
    unite();
    for (const from of others.keys()) guard(from);
    tellStanding(true);
  }

  const tellStanding = (anew: boolean) => say({ lead: { anew, cursor: cursor(), carried }, state });

  function stepDown() {
    mine?.close();
    mine = carried = undefined;
  }

  /** Wait for the lock, or take it. */
  function queue(steal: boolean) {
    queued.abort();
    queued = new AbortController();
    const options: LockOptions = steal ? { steal } : { signal: queued.signal };
    const held = () => {
      if (closed) return;
      lead();
      return new Promise<void>((done) => (resign = done));
    };
    // Rejected when it is taken from here, or not waited for any more.
    navigator.locks.request(name, options, held).catch(() => {
      if (options.signal?.aborted) return;
      stepDown();
      if (!closed) queue(false);
    });
  }

  // -- to follow ------------------------------------------------------------------------------------------------------

  channel.onmessage = ({ data }: MessageEvent<Said>) => {
    if (closed) return;
    if (data.want) hear(data.from, data.want);
    if (data.ping && mine) tellStanding(false);
    if (data.retry) mine?.retry();
    if (data.lead) follow(data.from, data.lead);
    if (data.from !== leader) return;
    heard = Date.now();
    asked = false;
    if (data.lines) listener.lines(...data.lines);
    if (data.state) listener.state(data.state);
  };

  function hear(from: string, want: readonly string[]) {
    // Whoever leads next has to know, too.
    others.set(from, want);
    if (!mine) return;
    unite();
    tellStanding(false);
    guard(from);
  }

  /** Forget a tab when it has gone: then its lock is free. */
  function guard(from: string) {
    if (guarded.has(from)) return;
    guarded.add(from);
    navigator.locks.request(`${name} ${from}`, { mode: "shared" }, () => {
      guarded.delete(from);
      others.delete(from);
      unite();
    });
  }

  function follow(from: string, { anew, cursor: at, carried: topics }: NonNullable<Said["lead"]>) {
    if (leader && from !== leader && !anew) return;
    if (mine) stepDown();
    leader = from;
    if (anew) say({ want: wanted });
    if (at && topics) listener.lines(at, [{ comet: "open", topics }]);
  }

  const watch = setInterval(() => {
    const now = Date.now();
    // If this tab slept, the answer may still be in its queue.
    const slept = now - looked > 2 * QUIET;
    looked = now;
    if (mine || now - heard < QUIET) return;
    if (asked && !slept) queue(true);
    else say({ ping: true });
    asked = !asked || slept;
  }, QUIET);

  // -- to come and go -------------------------------------------------------------------------------------------------

  function enter() {
    say({ want: wanted });
    queue(false);
  }

  /** Leave the lock to others: while this tab is frozen it would hold it for nothing. */
  function leave() {
    queued.abort();
    stepDown();
    leader = "";
    resign?.();
  }

  // A page that is shown for the first time was not away.
  const thawed = ({ type, persisted }: PageTransitionEvent) => {
    if (type === "resume" || persisted) enter();
  };
  const unheard = [
    listen(globalThis.document, "freeze", leave),
    listen(globalThis.document, "resume", thawed),
    listen(globalThis, "pagehide", leave),
    listen(globalThis, "pageshow", thawed),
  ];

  // Each holds a lock of its own as long as it is there.
  navigator.locks.request(`${name} ${me}`, () => {
    if (closed) return;
    enter();
    return new Promise<void>((done) => (depart = done));
  });

  return {
    want(topics) {
      wanted = topics;
      if (mine) unite();
      else say({ want: topics });
    },
    retry(anew) {
      if (mine) mine.retry(anew);
      else if (!anew) say({ retry: true });
    },
    close() {
      clearInterval(watch);
      for (const end of unheard) end();
      leave();
      closed = true;
      depart?.();
      channel.close();
    },
  };
}
