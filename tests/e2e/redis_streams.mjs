// The Redis clients of Node, as a back end uses them to read history: node redis_streams.mjs CLIENT PORT TOPIC GROUP
//
// The output is one JSON object of what each step gave.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../browser/package.json", import.meta.url));
const [name, port, topic, group] = process.argv.slice(2);

// An entry of ioredis is [id, [field, value, …]], one of node-redis {id, message}; in RESP3 node-redis gives what came.
const data = (entry) => (entry.message ? entry.message.data : entry[1][entry[1].indexOf("data") + 1]);
const id = (entry) => entry.id ?? entry[0];

function entriesOf(reply) {
  if (reply === null) {
    return null;
  }
  if (Array.isArray(reply)) {
    const [first] = reply;
    return first.messages ?? first[1];
  }
  return Object.values(reply)[0];
}

const texts = (entries) => entries && entries.map(data);

async function ioredis() {
  const { Redis } = require("ioredis");
  const redis = new Redis({ host: "127.0.0.1", port });
  const other = redis.duplicate();
  return {
    add: (text) => redis.xadd(topic, "*", "data", text),
    publish: (text) => other.publish(topic, text),
    length: () => redis.xlen(topic),
    range: () => redis.xrange(topic, "-", "+"),
    newest: () => redis.xrevrange(topic, "+", "-", "COUNT", 1),
    read: (since) => redis.xread("STREAMS", topic, since),
    wait: (since, block) => redis.xread("BLOCK", block, "STREAMS", topic, since),
    create: () => redis.xgroup("CREATE", topic, group, "0"),
    next: (since) => redis.xreadgroup("GROUP", group, "me", "STREAMS", topic, since),
    ack: (ids) => redis.xack(topic, group, ...ids),
    pending: async () => (await redis.xpending(topic, group))[0],
    groups: async () => (await redis.xinfo("GROUPS", topic)).map((told) => told[1]),
    async last() {
      const told = await redis.xinfo("STREAM", topic);
      return data(told[told.indexOf("last-entry") + 1]);
    },
    close: () => Promise.all([redis.quit(), other.quit()]),
  };
}

async function nodeRedis(RESP) {
  const { createClient } = require("redis");
  const redis = createClient({ socket: { host: "127.0.0.1", port: Number(port) }, RESP, unstableResp3: true });
  const other = redis.duplicate();
  await Promise.all([redis.connect(), other.connect()]);
  return {
    add: (text) => redis.xAdd(topic, "*", { data: text }),
    publish: (text) => other.publish(topic, text),
    length: () => redis.xLen(topic),
    range: () => redis.xRange(topic, "-", "+"),
    newest: () => redis.xRevRange(topic, "+", "-", { COUNT: 1 }),
    read: (since) => redis.xRead({ key: topic, id: since }),
    wait: (since, BLOCK) => redis.xRead({ key: topic, id: since }, { BLOCK }),
    create: () => redis.xGroupCreate(topic, group, "0"),
    next: (since) => redis.xReadGroup(group, "me", { key: topic, id: since }),
    ack: (ids) => redis.xAck(topic, group, ids),
    pending: async () => (await redis.xPending(topic, group)).pending,
    groups: async () => (await redis.xInfoGroups(topic)).map((told) => told.name),
    last: async () => data((await redis.xInfoStream(topic))["last-entry"]),
    close: () => Promise.all([redis.close(), other.close()]),
  };
}

const clients = { ioredis, redis2: () => nodeRedis(2), redis3: () => nodeRedis(3) };
const redis = await clients[name]();
const first = await redis.add("one");
await redis.add("two");
const third = await redis.add("three");
const seen = {
  length: await redis.length(),
  range: texts(await redis.range()),
  newest: texts(await redis.newest()),
  read: texts(entriesOf(await redis.read(first))),
};

// It waits behind an id, not behind "$", so it does not matter which of the two comes first.
const waiting = redis.wait(third, 0);
await redis.publish("late");
const woken = entriesOf(await waiting);
seen.waited = texts(woken);
seen.nothing = entriesOf(await redis.wait(id(woken.at(-1)), 50));

await redis.create();
const given = entriesOf(await redis.next(">"));
seen.group = texts(given);
seen.acknowledged = await redis.ack(given.slice(0, 2).map(id));
seen.pending = await redis.pending();
seen.again = texts(entriesOf(await redis.next("0")));
seen.groups = await redis.groups();
seen.last = await redis.last();
console.log(JSON.stringify(seen));
await redis.close();
