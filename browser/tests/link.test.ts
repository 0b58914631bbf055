/** The link: which transport it takes, and that nothing is lost or told twice on the way. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Options, Position, State } from "../comet.d.ts";
import { daemon } from "../src/daemon.ts";
import type { Line } from "../src/line.ts";
import { type Link, link } from "../src/link.ts";
import { House, until } from "./house.ts";

interface Listened {
  link: Link;
  states: State[];
  got: unknown[];
  /** Positions on which lines did not follow. */
  holes: [Position | undefined, Position][];
  carried(): readonly string[];
}

function listened(context: TestContext, house: House, transports: Options["transports"], topics = ["t"]): Listened {
  const states: State[] = [];
  const got: unknown[] = [];
  const holes: Listened["holes"] = [];
  let carried: readonly string[] = [];
  let last: Position | undefined;
  const made = link(daemon(house.url, undefined), { transports: transports! }, {
    lines(after: Position, lines: Line[]) {
      if (last && after !== last) holes.push([last, after]);
      last = after;
      for (const line of lines) {
        if (line.comet) carried = line.topics ?? carried;
        else got.push(line.data);
        const position = line.comet ? line.position : line.id;
        if (position && line.comet !== "open") last = position;
      }
    },
    state: (state) => void states.push(state),
  });
  context.after(() => made.close());
  made.want(topics);
  return { link: made, states, got, holes, carried: () => carried };
}

const by = (states: State[]) => states.map(({ state, transport }) => (transport ? `${state} ${transport}` : state));

const numbers = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

test("the best transport is taken when it works", async (context) => {
  const house = await House.open(context);
  const { states, got } = listened(context, house, ["stream", "sse"]);
  await until(() => states.at(-1)?.state === "open");
  house.publish();
  await until(() => got.length === 1);
  assert.deepEqual(by(states), ["connecting", "open stream"]);
  assert.deepEqual([house.count("poll"), house.count("stream"), house.count("sse")], [1, 1, 0]);
});

test("one that is refused is passed over at once", async (context) => {
  const house = await House.open(context);
  house.fates.set("stream", "refused");
  const { states, got } = listened(context, house, ["stream", "sse"]);
  await until(() => states.at(-1)?.transport === "sse");
  house.publish();
  await until(() => got.length === 1);
  assert.equal(house.count("stream"), 1);
});

test("while one is mute, a poll brings what comes, and then the next one does", async (context) => {
  const house = await House.open(context);
  house.fates.set("stream", "mute");
  const { states, got, holes } = listened(context, house, ["stream", "sse"]);
  // Before the poll stands in: neither has been heard when this is published.
  await until(() => house.count("stream") === 1);
  house.publish();
  await until(() => states.at(-1)?.transport === "poll");
  house.publish();
  await until(() => got.length === 2);
  await until(() => states.at(-1)?.transport === "sse");
  house.publish();
  await until(() => got.length === 3);
  assert.deepEqual(got, numbers(3));
  assert.deepEqual(holes, []);
});

test("what a poll has brought before a slow transport speaks is told once", async (context) => {
  const house = await House.open(context);
  house.fates.set("stream", "mute");
  const { states, got, holes } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.transport === "poll");
  house.publish();
  await until(() => got.length === 1);
  // Both are on their way at the same time.
  house.publish();
  house.unmute();
  await until(() => states.at(-1)?.transport === "stream");
  house.publish();
  await until(() => got.at(-1) === 3);
  assert.deepEqual(got, numbers(3));
  assert.deepEqual(holes, []);
  // The poll that stood in has gone.
  await until(() => house.streams.size === 1);
});

test("a proxy that fills buffers is found out, though its first bytes come", async (context) => {
  const house = await House.open(context);
  house.fates.set("stream", "buffered");
  const { states, got, holes } = listened(context, house, ["stream", "sse"]);
  await until(() => house.count("stream") === 1);
  for (let count = 0; count < 3; count++) house.publish();
  await until(() => states.at(-1)?.transport === "stream");
  house.publish();
  await until(() => states.at(-1)?.transport === "sse");
  assert.deepEqual(got, numbers(4));
  assert.deepEqual(holes, []);
});

test("one that holds nothing back is asked about that once", async (context) => {
  const house = await House.open(context);
  const { states, got } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "open");
  house.publish();
  await until(() => house.count("poll") === 2);
  // Longer than it takes to see that nothing comes; then, than it would take to ask again.
  await new Promise((done) => setTimeout(done, 700));
  house.publish();
  await until(() => got.length === 2);
  await new Promise((done) => setTimeout(done, 1500));
  assert.equal(house.count("poll"), 2);
  assert.equal(states.at(-1)!.transport, "stream");
});

test("somebody else's page is no stream", async (context) => {
  const house = await House.open(context);
  house.fates.set("stream", "page");
  const { states, got } = listened(context, house, ["stream", "sse"]);
  await until(() => states.at(-1)?.transport === "sse");
  house.publish();
  await until(() => got.length === 1);
});

test("where nothing streams, polls go on", async (context) => {
  const house = await House.open(context);
  for (const name of ["stream", "sse"]) house.fates.set(name, "refused");
  const { states, got } = listened(context, house, ["stream", "sse"]);
  await until(() => states.at(-1)?.transport === "poll");
  for (const last of numbers(5)) {
    house.publish();
    await until(() => got.length === last);
  }
  assert.deepEqual(got, numbers(5));
});

test("a daemon that is down puts no transport to blame", async (context) => {
  const house = await House.open(context);
  const { link, states, got } = listened(context, house, ["stream", "sse"]);
  await until(() => states.at(-1)?.state === "open");
  house.down = true;
  house.cut();
  await until(() => states.filter(({ state }) => state === "waiting").length === 2);
  assert(states.at(-1)!.retry! >= 0 && states.at(-1)!.reason);
  house.down = false;
  house.publish();
  link.retry();
  await until(() => got.length === 1);
  await until(() => states.at(-1)?.state === "open");
  assert.equal(states.at(-1)!.transport, "stream");
});

test("what the daemon refuses is told in its own words, and tried again", async (context) => {
  const house = await House.open(context);
  house.refusal = 403;
  const { link, states } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "waiting");
  assert.equal(states.at(-1)!.reason, "refused with 403");
  house.refusal = undefined;
  link.retry();
  await until(() => states.at(-1)?.state === "open");
});

test("topics are changed on the open stream", async (context) => {
  const house = await House.open(context);
  const { link, states, carried } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "open");
  link.want(["t", "u"]);
  await until(() => carried().length === 2);
  link.want(["u"]);
  link.want(["u", "v"]);
  await until(() => carried().join() === "u,v");
  assert.equal(house.count("stream"), 1);
});

test("a stream that is not known any more is opened anew, with all topics", async (context) => {
  const house = await House.open(context);
  const { link, states, carried } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "open");
  house.streams.clear();
  link.want(["t", "u"]);
  await until(() => states.at(-1)?.state === "waiting");
  link.retry();
  await until(() => carried().length === 2);
});

test("a connection that says nothing for too long is dead", async (context) => {
  const house = await House.open(context);
  house.silence = 0.05;
  const { states } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "waiting");
  assert.equal(states.at(-1)!.reason, "nothing was heard for too long");
});

test("wanting nothing ends the connection, and wanting something again begins now", async (context) => {
  const house = await House.open(context);
  const { link, states, got, carried } = listened(context, house, ["stream"]);
  await until(() => states.at(-1)?.state === "open");
  link.want([]);
  await until(() => house.streams.size === 0);
  assert.equal(states.at(-1)!.state, "idle");
  assert.deepEqual(carried(), []);
  house.publish();
  link.want(["t"]);
  await until(() => states.at(-1)?.state === "open");
  house.publish();
  await until(() => got.length === 1);
  assert.deepEqual(got, [2]);
});

test("whatever becomes of connections, each message is told once and in order", async (context) => {
  const house = await House.open(context);
  const fates = ["works", "mute", "refused", "cut"] as const;
  let seed = 20061;
  const draw = (count: number) => (seed = (seed * 48_271) % 2_147_483_647) % count;
  const { link, got, holes } = listened(context, house, ["stream", "sse"]);
  await until(() => house.count("poll") > 0 && house.streams.size > 0);
  const before = house.messages.length;
  for (let step = 0; step < 300; step++) {
    for (let count = draw(4); count > 0; count--) house.publish();
    if (draw(6) === 0) for (const name of ["stream", "sse"]) house.fates.set(name, fates[draw(fates.length)]!);
    if (draw(8) === 0) house.cut();
    if (draw(8) === 0) house.unmute();
    house.down = draw(10) === 0;
    if (draw(3) === 0) link.retry(draw(2) === 0);
    await new Promise((done) => setTimeout(done, draw(8)));
  }
  house.down = false;
  house.fates.clear();
  link.retry(true);
  house.publish();
  await until(() => {
    link.retry();
    return got.at(-1) === house.messages.length;
  });
  assert.deepEqual(got, numbers(house.messages.length).slice(before));
  assert.deepEqual(holes, []);
});
