/** The tail, and readers that come from behind: against a log that answers polls over HTTP. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import type { Gap, Message } from "../comet.d.ts";
import { daemon } from "../src/daemon.ts";
import type { Published } from "../src/line.ts";
import { subscription } from "../src/subscription.ts";
import { type Tail, tail } from "../src/tail.ts";

const message = (offset: number, topic = "t"): Published => ({ id: `a-${offset}`, topic, time: 0, data: offset });

/** A log of messages 1 to `end`; a page has at most `limit`, and is answered once `gate` lets it. */
class Log {
  end = 0;
  limit = 1000;
  asked: string[] = [];
  gate: Promise<unknown> = Promise.resolve();
  failures = 0;

  async page(since: string) {
    this.asked.push(since);
    const after = since === "first" ? 0 : since === "now" ? this.end : Number(since.split("-")[1]);
    const until = Math.min(this.end, after + this.limit);
    const messages = Array.from({ length: until - after }, (_, index) => message(after + index + 1));
    await this.gate;
    return { messages, next: `a-${until}` };
  }
}

async function serving(context: TestContext, log: Log): Promise<string> {
  const server = createServer(async (request, response) => {
    if (log.failures-- > 0) return void request.socket.destroy();
    const query = new URL(request.url!, "http://log").searchParams;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(await log.page(query.get("since")!)));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

interface Reading {
  got: unknown[];
  iterated: AsyncIterator<Message>;
  ready: Promise<void>;
  close(): void;
}

interface House {
  log: Log;
  tail: Tail;
  gaps: Gap[];
  read(since: string, take?: ((message: Message) => void) | null): Reading;
}

async function house(context: TestContext): Promise<House> {
  const log = new Log();
  const gaps: Gap[] = [];
  const made = tail(daemon(await serving(context, log), undefined), (gap) => gaps.push(gap));
  return {
    log,
    tail: made,
    gaps,
    read(since, take) {
      const got: unknown[] = [];
      const give = take === undefined ? ({ data }: Message) => void got.push(data) : take;
      const [user, reader] = subscription(["t"], since, give, made.settle, (gone) => made.remove(gone));
      made.add(reader);
      return { got, iterated: user[Symbol.asyncIterator](), ready: user.ready, close: user.close };
    },
  };
}

/** What a link tells first: from here on "t" is carried. */
const opening = { comet: "open", topics: ["t"] } as const;

const numbers = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

test("who wants what comes from now on gets that, and asks for nothing", async (context) => {
  const { log, tail, read } = await house(context);
  const { got, ready } = read("now");
  tail.take("a-5", [opening, message(6), message(7, "other")]);
  await ready;
  tail.take("a-7", [message(8)]);
  assert.deepEqual(got, [6, 8]);
  assert.deepEqual(log.asked, []);
});

test("history comes in pages, and what is told meanwhile follows it, once", async (context) => {
  const { log, tail, read } = await house(context);
  log.end = 25;
  log.limit = 10;
  let open!: (value: unknown) => void;
  log.gate = new Promise((done) => (open = done));
  tail.take("a-20", [opening]);
  const { got, ready } = read("first");
  tail.take("a-20", numbers(21, 27).map((offset) => message(offset)));
  log.end = 27;
  open(0);
  await ready;
  tail.take("a-27", [message(28)]);
  assert.deepEqual(got, numbers(1, 28));
});

test("a page that is faster than the tail makes nothing come twice", async (context) => {
  const { log, tail, read } = await house(context);
  log.end = 9;
  tail.take("a-5", [opening]);
  const { got, ready } = read("first");
  await ready;
  tail.take("a-5", [message(6), message(7)]);
  // Here the tail has missed something, while the reader is ahead of it.
  tail.take("a-8", [message(9), message(10)]);
  await until(() => got.length === 10, () => (log.end = 10));
  assert.deepEqual(got, numbers(1, 10));
});

test("lines that do not follow on the last ones make a tab read what it has missed", async (context) => {
  const { log, tail, read } = await house(context);
  const { got, ready } = read("now");
  tail.take("a-1", [opening, message(2)]);
  await ready;
  log.end = 50;
  tail.take("a-49", [message(50)]);
  await until(() => got.length === 49);
  tail.take("a-50", [message(51)]);
  assert.deepEqual(got, numbers(2, 51));
});

test("topics that are not carried any more are read once they are again", async (context) => {
  const { log, tail, read } = await house(context);
  const { got, ready } = read("now");
  tail.take("a-1", [opening, message(2)]);
  await ready;
  log.end = 5;
  tail.take("a-2", [{ comet: "topics", topics: ["other"], position: "a-2" }]);
  tail.take("a-2", [{ comet: "topics", topics: ["other", "t"], position: "a-5" }]);
  await until(() => got.length === 4);
  assert.deepEqual(got, numbers(2, 5));
});

test("a page that does not come is asked for again", async (context) => {
  const { log, tail, read } = await house(context);
  log.end = 3;
  log.failures = 1;
  tail.take("a-3", [opening]);
  const { got, ready } = read("first");
  await ready;
  assert.deepEqual(got, [1, 2, 3]);
});

test("a slow reader holds up no more than its queue, and still gets everything", async (context) => {
  const { log, tail, read } = await house(context);
  const { iterated, ready } = read("now", null);
  tail.take("a-0", [opening]);
  await ready;
  for (let offset = 1; offset <= 5000; offset++) tail.take(`a-${offset - 1}`, [message(offset)]);
  log.end = 5000;
  const got: unknown[] = [];
  while (got.length < 5000) got.push((await iterated.next()).value.data);
  assert.deepEqual(got, numbers(1, 5000));
  assert(log.asked.includes("a-1000"));
});

test("who closes is given nothing more, in the middle of a page either", async (context) => {
  const { log, tail, read } = await house(context);
  log.end = 9;
  tail.take("a-9", [opening]);
  const got: unknown[] = [];
  const reading = read("first", ({ data }) => {
    got.push(data);
    if (data === 3) reading.close();
  });
  await reading.ready;
  tail.take("a-9", [message(10)]);
  assert.deepEqual(got, [1, 2, 3]);
});

test("a gap begins where the reader is, which may be ahead of the tail", async (context) => {
  const { log, tail, gaps, read } = await house(context);
  log.end = 70;
  tail.take("a-1", [opening]);
  const { got, ready } = read("first");
  await ready;
  tail.take("a-1", [opening, { comet: "gap", since: "a-1", until: "b-0" }]);
  assert.deepEqual(got, numbers(1, 70));
  assert.deepEqual(gaps, [{ topics: ["t"], since: "a-70", until: "b-0" }]);
});

test("a gap that a link tells is told, with the topics of those that are live", async (context) => {
  const { tail, gaps, read } = await house(context);
  const { got, ready } = read("now");
  tail.take("a-1", [opening]);
  await ready;
  tail.take("a-1", [{ comet: "gap", since: "a-1", until: "b-3" }, { ...message(4), id: "b-4" }]);
  assert.deepEqual(gaps, [{ topics: ["t"], since: "a-1", until: "b-3" }]);
  assert.deepEqual(got, [4]);
  assert.equal(tail.cursor, "b-4");
});

/** Wait until it holds; `meanwhile` is done once. */
async function until(holds: () => boolean, meanwhile = () => {}) {
  meanwhile();
  while (!holds()) await new Promise((done) => setTimeout(done, 1));
}
