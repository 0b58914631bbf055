/** A daemon small enough to be wrong on purpose: a log over HTTP, and for each transport what a proxy makes of it. */
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import type { Transport } from "../comet.d.ts";

/**
 * What becomes of a transport: it works, says nothing, is refused, is cut after its first bytes, comes some lines at a time
 * because somebody fills buffers with them, or is answered with a page of somebody else's.
 */
export type Fate = "works" | "mute" | "refused" | "cut" | "buffered" | "page";

/** Lines that fill a buffer. */
const BUFFER = 4;

interface Held {
  id?: string;
  topics: Set<string>;
  response: ServerResponse;
  poll: boolean;
  after: number;
  mute: boolean;
  buffer?: string[] | undefined;
}

export class House {
  readonly messages: string[] = [];
  readonly asked: string[] = [];
  readonly fates = new Map<string, Fate>();
  readonly streams = new Map<string, Held>();
  epoch = "a";
  silence = 25;
  down = false;
  /** What is refused, with which status. */
  refusal: number | undefined;
  private readonly server: Server = createServer((request, response) => this.answer(request, response));

  static async open(context: TestContext): Promise<House> {
    const house = new House();
    await new Promise<void>((done) => house.server.listen(0, "127.0.0.1", done));
    context.after(() => {
      house.server.closeAllConnections();
      house.server.close();
    });
    return house;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  get end(): string {
    return `${this.epoch}-${this.messages.length}`;
  }

  /** How many requests there were by a transport. */
  count(transport: Transport): number {
    return this.asked.filter((each) => each === transport).length;
  }

  publish(topic = "t"): void {
    this.messages.push(topic);
    for (const held of this.streams.values()) this.flush(held);
  }

  /** Cut every connection. */
  cut(): void {
    this.streams.clear();
    this.server.closeAllConnections();
  }

  /** Let those speak that were mute, from where they began. */
  unmute(): void {
    for (const held of this.streams.values()) {
      if (!held.mute) continue;
      held.mute = false;
      this.begin(held);
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.down) return void request.socket.destroy();
    const { pathname, searchParams } = new URL(request.url!, this.url);
    if (pathname.startsWith("/streams/")) return this.change(pathname.slice(9), request, response);
    const transport = searchParams.get("transport")!;
    this.asked.push(transport);
    if (this.refusal) return refuse(response, this.refusal);
    const fate = this.fates.get(transport) ?? "works";
    if (fate === "refused") return refuse(response, 502);
    const held: Held = {
      topics: new Set(searchParams.getAll("topic")),
      response,
      poll: transport === "poll",
      after: this.offset(searchParams.get("since")!),
      mute: fate === "mute",
      buffer: fate === "buffered" ? [] : undefined,
    };
    if (fate === "page") return void response.setHeader("content-type", "text/html").write("<p>Log in");
    if (held.poll) return this.poll(held, searchParams.get("wait") !== "0");
    const id = String(Math.random()).slice(2);
    this.streams.set(id, held);
    response.on("close", () => this.streams.delete(id));
    response.setHeader("content-type", transport === "sse" ? "text/event-stream" : "application/x-ndjson");
    held.id = id;
    if (!held.mute) this.begin(held);
    if (fate === "cut") response.end();
  }

  private begin(held: Held): void {
    const position = `${this.epoch}-${held.after}`;
    this.say(held, { comet: "open", stream: held.id, position, silence: this.silence });
    this.flush(held);
  }

  private poll(held: Held, wait: boolean): void {
    const id = String(Math.random()).slice(2);
    this.streams.set(id, held);
    held.response.on("close", () => this.streams.delete(id));
    held.id = id;
    if (!wait || held.after < this.messages.length) this.flush(held, true);
  }

  private flush(held: Held, anyhow = false): void {
    if (held.mute) return;
    const news = this.messages.flatMap((topic, index) =>
      index >= held.after && held.topics.has(topic) ? [this.message(topic, index + 1)] : [],
    );
    held.after = this.messages.length;
    if (!held.poll) return news.forEach((message) => this.say(held, message));
    if (!news.length && !anyhow) return;
    this.streams.delete(held.id!);
    held.response.writeHead(200, { "content-type": "application/json" });
    held.response.end(JSON.stringify({ messages: news, next: this.end }));
  }

  private message = (topic: string, offset: number) => ({ id: `${this.epoch}-${offset}`, topic, time: 0, data: offset });

  private say(held: Held, what: object): void {
    const sse = String(held.response.getHeader("content-type")).includes("event");
    const line = sse ? `data: ${JSON.stringify(what)}\n\n` : JSON.stringify(what) + "\n";
    if (!held.buffer) return void held.response.write(line);
    held.buffer.push(line);
    if (held.buffer.length === BUFFER) held.response.write(held.buffer.splice(0).join(""));
  }

  private change(id: string, request: IncomingMessage, response: ServerResponse): void {
    let body = "";
    request.on("data", (piece) => (body += piece));
    request.on("end", () => {
      const held = this.streams.get(id);
      if (!held) return refuse(response, 404);
      const { subscribe, unsubscribe } = JSON.parse(body);
      for (const topic of unsubscribe) held.topics.delete(topic);
      for (const topic of subscribe) held.topics.add(topic);
      response.writeHead(204).end();
      this.say(held, { comet: "topics", topics: [...held.topics], position: this.end });
    });
  }

  private offset(since: string): number {
    return since === "now" ? this.messages.length : since === "first" ? 0 : Number(since.split("-")[1]);
  }
}

function refuse(response: ServerResponse, status: number): void {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ code: "refused", detail: `refused with ${status}` }));
}

/** Wait until it holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((done) => setTimeout(done, 1));
}
