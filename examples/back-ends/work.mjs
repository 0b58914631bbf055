// Do something for each message of a topic, and acknowledge it: node work.mjs TOPIC GROUP
import { Redis } from "ioredis";

const [topic, group] = process.argv.slice(2);
const redis = new Redis(process.env.COMET_TCP ?? "redis://127.0.0.1:7081");
await redis.xgroup("CREATE", topic, group, "0").catch((refusal) => {
  if (!refusal.message.startsWith("BUSYGROUP")) {
    throw refusal;
  }
});

for (;;) {
  const reply = await redis.xreadgroup("GROUP", group, "worker", "COUNT", 10, "BLOCK", 20000, "STREAMS", topic, ">");
  const [[, entries] = [null, []]] = reply ?? [];
  for (const [position, [, value]] of entries) {
    console.log(value);
    await redis.xack(topic, group, position);
  }
}
