/**
 * The link: keeps one connection that carries the wanted topics, by the best transport that gets through.
 *
 * A position is known before any transport is tried, from a poll that is answered at once; so none that turns out to be
 * mute, because a proxy holds back what it says, loses a message. While a better one is tried, a long poll carries what
 * comes. What two connections say of the same is told once: the cursor decides, whichever was faster.
 *
 * The trap: a transport that failed may be blocked, or the daemon may be down. The poll is the judge: only if that gets
 * through is the transport to blame, and passed over for a while.
 */
import type { CometError, Options, Position, State, Transport } from "../comet.d.ts";
import { backoff, pause } from "./backoff.ts";
import { type Daemon, ask } from "./daemon.ts";
import { type Line, advanced, isAfter } from "./line.ts";
import { recall, remember } from "./memory.ts";
import { transports } from "./transports/index.ts";
import { type Page, linesOf } from "./transports/poll.ts";

/** Milliseconds that a transport has for its first bytes; after the second figure a long poll stands in for it. */
const MUTE = 3_000;
const STAND_IN = 500;
/** Milliseconds after which a connection was stable. */
const STABLE = 3_000;
/** Milliseconds after which better transports are tried again: then twice as many, up to the last. */
const BETTER = 60_000;
const BETTER_AT_MOST = 600_000;
/** Milliseconds of quiet after messages, to see whether more of them are held back. */
const QUIET = 1_000;
/** The longest silence in seconds, until the daemon says its own, and how many of it mean that nothing will come. */
const SILENCE = 30;
const DEAD = 2.2;

/** What a link tells: lines that follow on `after`, each message once and in order; and how things stand. */
export interface Listener {
  lines(after: Position, lines: Line[]): void;
  state(state: State): void;
}

export interface Link {
  /** Carry exactly these topics and patterns. */
  want(topics: readonly string[]): void;
  /** Try again now if a try is waited for; with `anew` also if the connection is not to be trusted any more. */
  retry(anew?: boolean): void;
  close(): void;
}

/** A run of a transport, with the topics that it carries. */
interface Connection {
  transport: Transport;
  topics: readonly string[];
  begun: number;
  /** Its id, once it is open and if its topics can be changed. */
  stream?: string | undefined;
  changing?: boolean;
  dead?: ReturnType<typeof setTimeout>;
  /** Whether it is known to hold nothing back. */
  proven: boolean;
  proof?: ReturnType<typeof setTimeout>;
  end(): void;
}

/** Keep a link to `daemon`, from `cursor` on if one is known. */
export function link(daemon: Daemon, options: Options, listener: Listener, cursor?: Position): Link {
  const named = options.transports ?? (Object.keys(transports) as Transport[]);
  const order: readonly Transport[] = [...named.filter((name) => name in transports && name !== "poll"), "poll"];
  const waits = backoff();

  let wanted: readonly string[] = [];
  let passedOver = new Set<Transport>();
  let current: Connection | undefined;
  let tried: Connection | undefined;
  let asking: AbortController | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let better: ReturnType<typeof setTimeout> | undefined;
  let betterAfter = BETTER;
  let silence = SILENCE;
  let trusted = false;
  let lastGap: Position | undefined;

  // -- on the way to a connection -------------------------------------------------------------------------------------

  const address = (transport: Transport, topics: readonly string[], since: string, more?: Record<string, string>) =>
    daemon.address(topics, { transport, since, ...more });

  async function connect() {
    clearTimeout(again);
    again = undefined;
    if (!wanted.length || current || tried || asking) return;
    listener.state({ state: "connecting" });
    if (cursor && trusted) return climb();
    const mine = (asking = new AbortController());
    const topics = wanted;
    let page: Page;
    try {
      page = await ask(await address("poll", topics, cursor ?? "now", { wait: "0" }), { signal: mine.signal });
      if (asking !== mine) return;
      asking = undefined;
    } catch (error) {
      if (asking !== mine) return;
      asking = undefined;
      // What was tried before is not to blame.
      forgive();
      return wait((error as CometError).message);
    }
    trusted = true;
    if (cursor) tell([{ comet: "open", topics }, ...linesOf(page)]);
    cursor ??= page.next;
    if (page.retry === undefined) climb();
    else wait("the daemon is about to stop", page.retry);
  }

  /** Try the best transport that is not passed over, if it is better than what there is. */
  function climb() {
    const name = order.find((each) => !passedOver.has(each))!;
    if (name !== order[0]) lookForBetterLater();
    if (tried) return;
    if (name === current?.transport) return remember(daemon.home, name);
    if (name === "poll") return standIn();
    const mine = (tried = open(name));
    setTimeout(() => tried === mine && standIn(), STAND_IN);
    setTimeout(() => tried === mine && ended(mine, "nothing came in time"), MUTE);
  }

  function standIn() {
    current ??= open("poll");
  }

  /** Begin with what worked in this tab before. */
  function forgive() {
    const worked = recall(daemon.home) as Transport;
    passedOver = new Set(order.slice(0, Math.max(0, order.indexOf(worked))));
  }

  function lookForBetterLater() {
    better ??= setTimeout(() => {
      better = undefined;
      betterAfter = Math.min(2 * betterAfter, BETTER_AT_MOST);
      passedOver.clear();
      if (current) climb();
    }, betterAfter);
  }

  function wait(reason: string, milliseconds = waits.next()) {
    listener.state({ state: "waiting", reason, retry: milliseconds });
    again = setTimeout(connect, milliseconds);
  }

  function stop() {
    clearTimeout(again);
    clearTimeout(better);
    current?.end();
    tried?.end();
    asking?.abort();
    again = better = current = tried = asking = undefined;
  }

  // -- a connection ---------------------------------------------------------------------------------------------------

  function open(transport: Transport): Connection {
    const aborter = new AbortController();
    const topics = wanted;
    const mine: Connection = {
      transport,
      topics,
      begun: Date.now(),
      proven: transport === "poll" || transport === recall(daemon.home),
      end() {
        clearTimeout(mine.dead);
        clearTimeout(mine.proof);
        aborter.abort();
      },
    };
    const asked = {
      address: (since: Position, more?: Record<string, string>) => address(transport, topics, since, more),
      origin: daemon.origin,
      since: cursor!,
      patience: Math.max(silence, SILENCE) * DEAD * 1000,
      signal: aborter.signal,
    };
    transports[transport](asked, (lines) => heard(mine, lines)).then(
      () => ended(mine, "the connection ended"),
      (error: Error) => ended(mine, error.message),
    );
    return mine;
  }

  function heard(mine: Connection, lines: Line[]) {
    if (mine === tried) {
      // What begins otherwise is somebody else's page.
      if (lines[0]?.comet !== "open") return;
      // It gets through: it takes the place of what stood in for it.
      current?.end();
      current = mine;
      tried = undefined;
    }
    if (mine !== current) return;
    let changed = false;
    for (const line of lines) {
      if (line.comet === "open") {
        mine.stream = line.stream;
        silence = line.silence ?? silence;
        line.topics = mine.topics;
        opened(mine);
        changed = true;
      } else if (line.comet === "topics") {
        mine.topics = line.topics!;
        mine.changing = false;
        changed = true;
      }
    }
    clearTimeout(mine.dead);
    mine.dead = setTimeout(() => swallowed(mine), silence * DEAD * 1000);
    tell(lines);
    if (!mine.proven && !lines.every((line) => line.comet)) {
      clearTimeout(mine.proof);
      mine.proof = setTimeout(prove, QUIET, mine);
    }
    const last = lines[lines.length - 1];
    if (last?.comet === "bye") ended(mine, last.reason ?? "the daemon is about to stop", last.retry);
    else if (changed) change();
  }

  function opened(mine: Connection) {
    listener.state({ state: "open", transport: mine.transport });
    if (mine.transport === order[0]) betterAfter = BETTER;
  }

  /** A proxy that passes on whole buffers lets much through, and keeps the end. A poll knows whether there is more. */
  async function prove(mine: Connection) {
    const at = cursor!;
    const asked = address("poll", mine.topics, at, { wait: "0" }).then((url) => ask(url));
    const page: Page | void = await asked.catch(() => {});
    // It may be on its way.
    await pause(STAND_IN);
    if (mine !== current || !page) return;
    const last = page.messages.pop();
    if (last && isAfter(last.id, cursor!)) swallowed(mine);
    else if (cursor === at) {
      mine.proven = true;
      remember(daemon.home, mine.transport);
    }
  }

  /** It may be the network, or a proxy that keeps what it gets: then another transport does better. */
  function swallowed(mine: Connection) {
    if (mine.transport !== "poll") passedOver.add(mine.transport);
    ended(mine, "nothing was heard for too long");
  }

  function ended(mine: Connection, reason: string, retry?: number) {
    mine.end();
    if (mine === tried) {
      tried = undefined;
      passedOver.add(mine.transport);
      if (current) return climb();
      trusted = false;
      connect();
    } else if (mine === current) {
      tried?.end();
      current = tried = undefined;
      if (Date.now() - mine.begun > STABLE) waits.reset();
      // Where a poll does not get through, nothing does.
      if (mine.transport === "poll") trusted = false;
      wait(reason, retry);
    }
  }

  /** Have the connection carry what is wanted, if it does not. */
  async function change() {
    const mine = current;
    if (!mine || mine.changing) return;
    const subscribe = wanted.filter((topic) => !mine.topics.includes(topic));
    const unsubscribe = mine.topics.filter((topic) => !wanted.includes(topic));
    if (!subscribe.length && !unsubscribe.length) return;
    if (mine.transport === "poll") {
      mine.end();
      current = open("poll");
    } else if (mine.stream) {
      mine.changing = true;
      try {
        const body = JSON.stringify({ subscribe, unsubscribe });
        await ask(daemon.at("streams/" + mine.stream), { method: "POST", headers: await daemon.headers(), body });
      } catch (error) {
        const { message, status } = error as CometError;
        mine.changing = false;
        // Refused, or it is not known there: then a new one is asked for all of it.
        if (status === 400 || status === 403) listener.state({ state: "open", transport: mine.transport, reason: message });
        else ended(mine, message);
      }
    }
  }

  function tell(lines: Line[]) {
    const after = cursor!;
    const news = lines.filter((line) => {
      const before = cursor!;
      cursor = advanced(before, line);
      if (line.comet !== "gap") return line.comet || cursor !== before;
      // A connection that was cut behind a gap is followed by one that tells it again.
      const told = line.until === lastGap;
      lastGap = line.until;
      return !told;
    });
    if (news.length) listener.lines(after, news);
  }

  forgive();
  return {
    want(topics) {
      wanted = topics;
      if (!topics.length) {
        stop();
        if (cursor) listener.lines(cursor, [{ comet: "topics", topics }]);
        cursor = undefined;
        listener.state({ state: "idle" });
      } else if (current) change();
      else if (!again) connect();
    },
    retry(anew) {
      if (anew && (current || tried || asking)) {
        stop();
        trusted = false;
        connect();
      } else if (again) connect();
    },
    close: stop,
  };
}
