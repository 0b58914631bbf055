// The Redis clients of Node, as a back end uses them to listen: node redis_clients.mjs CLIENT PORT TOPIC PATTERN
//
// Each line of the output is JSON: "ready" at each time that the client is connected and has subscribed, and
// ["message", topic, payload] or ["pmessage", pattern, topic, payload] for what it hears. A line of the input is a topic
// or a pattern to unsubscribe from; it is answered by ["ended", name].
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../browser/package.json", import.meta.url));
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

const clients = {
  async ioredis({ port, topic, pattern }) {
    const { Redis } = require("ioredis");
    const redis = new Redis({ host: "127.0.0.1", port, retryStrategy: () => 50 });
    redis.on("error", () => {}); // it tries again
    redis.on("message", (topic, payload) => say(["message", topic, payload]));
    redis.on("pmessage", (pattern, topic, payload) => say(["pmessage", pattern, topic, payload]));
    await redis.subscribe(topic);
    await redis.psubscribe(pattern);
    say("ready");
    return async (name) => (name === topic ? redis.unsubscribe(name) : redis.punsubscribe(name));
  },

  redis2: (wanted) => nodeRedis(wanted, 2),
  redis3: (wanted) => nodeRedis(wanted, 3),
};

async function nodeRedis({ port, topic, pattern }, RESP) {
  const { createClient } = require("redis");
  const redis = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: () => 50 }, RESP });
  redis.on("error", () => {});
  await redis.connect();
  await redis.subscribe(topic, (payload, topic) => say(["message", topic, payload]));
  await redis.pSubscribe(pattern, (payload, topic) => say(["pmessage", pattern, topic, payload]));
  say("ready");
  return async (name) => (name === topic ? redis.unsubscribe(name) : redis.pUnsubscribe(name));
}

const [client, port, topic, pattern] = process.argv.slice(2);
const unsubscribe = await clients[client]({ port: Number(port), topic, pattern });
for await (const name of createInterface({ input: process.stdin })) {
  await unsubscribe(name);
  say(["ended", name]);
}
process.exit(0);
