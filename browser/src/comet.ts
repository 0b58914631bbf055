/**
 * The client: a page's subscriptions on the tail of the log, which a link keeps going, of this tab or of another.
 */
import type * as api from "../comet.d.ts";
import { daemon, type Daemon } from "./daemon.ts";
import { type Link, link } from "./link.ts";
import { call, listen } from "./listen.ts";
import { checked } from "./pattern.ts";
import { publisher } from "./publish.ts";
import { subscription } from "./subscription.ts";
import { canShare, tabs } from "./tabs.ts";
import { type Tail, tail } from "./tail.ts";

type Told = { [Name in keyof api.Told]: Set<(told: api.Told[Name]) => void> };

const SINCE = /^(now|first|last|-\d+|.+-\d+)$/;

export class Comet implements api.Comet {
  /** Where this script came from; so did, unless it is said otherwise, the daemon. */
  static from_: string;

  private daemon_: Daemon;
  private tail_: Tail;
  private link_: Link;
  private publish_: ReturnType<typeof publisher>;
  private told_: Told = { state: new Set(), gap: new Set() };
  private state_: api.State = { state: "idle" };
  private open_ = new Set<api.Subscription>();
  private changed_ = false;
  private unheard_: (() => void)[];

  constructor(url: string | URL = new URL(".", Comet.from_), options: api.Options = {}) {
    const { share = true } = options;
    this.daemon_ = daemon(url, options.token);
    this.tail_ = tail(this.daemon_, (gap) => this.tell_("gap", gap));
    this.publish_ = publisher(this.daemon_);
    const listener = {
      lines: this.tail_.take,
      state: (state: api.State) => this.tellState_(state),
    };
    const make = (heard: typeof listener, cursor?: api.Position) => link(this.daemon_, options, heard, cursor);
    this.link_ =
      share && canShare()
        ? tabs(`comet ${this.daemon_.home} ${share}`, make, listener, () => this.tail_.cursor)
        : make(listener);
    const page = globalThis.document;
    this.unheard_ = [
      // The network is another one: connections of the old one are dead, without being told.
      listen(globalThis, "online", () => this.link_.retry(true)),
      listen(page, "visibilitychange", () => page.hidden || this.link_.retry()),
    ];
  }

  subscribe(
    topics: string | readonly string[],
    take?: ((message: api.Message) => void) | api.SubscribeOptions | null,
    options?: api.SubscribeOptions,
  ): api.Subscription {
    const given = typeof take === "function" ? take : null;
    const since = (options ?? (take as api.SubscribeOptions | null))?.since ?? "now";
    if (!SINCE.test(since)) throw new TypeError(`"${since}" is no place to start`);
    if (this.state === "closed") throw new TypeError("it is closed");
    const patterns = [...new Set([topics].flat())].map((text) => checked(text, true));
    if (!patterns.length) throw new TypeError("no topics");
    const [made, reader] = subscription(patterns, since, given, this.tail_.settle, () => {
      this.tail_.remove(reader);
      this.open_.delete(made);
      this.want_();
    });
    this.open_.add(made);
    this.tail_.add(reader);
    this.want_();
    return made;
  }

  publish(topic: string, data: unknown, options?: api.PublishOptions): Promise<{ id: api.Position }> {
    return this.publish_(topic, data, options);
  }

  on<Name extends keyof api.Told>(name: Name, told: (told: api.Told[Name]) => void): () => void {
    const those = this.told_[name];
    if (!those) throw new TypeError(`there is no ${name}`);
    those.add(told);
    if (name === "state") call(told as (state: api.State) => void, this.state_);
    return () => those.delete(told);
  }

  retryNow(): void {
    this.link_.retry();
  }

  close(): void {
    for (const each of [...this.open_]) each.close();
    this.link_.close();
    for (const end of this.unheard_) end();
    this.tellState_({ state: "closed" });
  }

  get state() {
    return this.state_.state;
  }

  get transport() {
    return this.state_.transport;
  }

  get lastId() {
    return this.tail_.cursor;
  }

  /** Subscriptions that come and go together change the topics once. */
  private want_() {
    if (this.changed_) return;
    this.changed_ = true;
    setTimeout(() => {
      this.changed_ = false;
      if (this.state !== "closed") this.link_.want(this.tail_.topics());
    });
  }

  private tellState_(state: api.State) {
    if (this.state === "closed" || JSON.stringify(state) === JSON.stringify(this.state_)) return;
    this.state_ = state;
    this.tell_("state", state);
  }

  private tell_<Name extends keyof api.Told>(name: Name, what: api.Told[Name]) {
    for (const told of this.told_[name]) call(told, what);
  }
}
