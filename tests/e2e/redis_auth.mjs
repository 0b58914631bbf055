// The Redis clients of Node with a password: node redis_auth.mjs CLIENT PORT PASSWORD TOPIC
//
// Each line of the output is JSON: what PUBLISH on the topic was answered, or the error of the connection.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../browser/package.json", import.meta.url));
const [client, port, password, topic] = process.argv.slice(2);

const clients = {
  async ioredis() {
    const { Redis } = require("ioredis");
    const redis = new Redis({ host: "127.0.0.1", port, password, lazyConnect: true, retryStrategy: null });
    redis.on("error", () => {}); // the command fails, too
    return redis.publish(topic, "hello");
  },

  redis2: () => nodeRedis(2),
  redis3: () => nodeRedis(3),
};

async function nodeRedis(RESP) {
  const { createClient } = require("redis");
  const redis = createClient({ socket: { host: "127.0.0.1", port, reconnectStrategy: false }, password, RESP });
  redis.on("error", () => {});
  await redis.connect();
  return redis.publish(topic, "hello");
}

try {
  console.log(JSON.stringify(await clients[client]()));
} catch (error) {
  console.log(JSON.stringify(`${error}`));
}
process.exit(0);
