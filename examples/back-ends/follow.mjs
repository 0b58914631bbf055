// Every message of a topic, in order, from where this program was when it last ran: node follow.mjs TOPIC PLACE
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { Redis } from "ioredis";

const [topic, place] = process.argv.slice(2);
let since = existsSync(place) ? readFileSync(place, "utf8") : "0";
const redis = new Redis(process.env.COMET_TCP ?? "redis://127.0.0.1:7081");

for (;;) {
  const [[, entries] = [null, []]] = (await redis.xread("BLOCK", 20000, "STREAMS", topic, since)) ?? [];
  for (const [position, [field, value]] of entries) {
    if (field === "gap") {
      console.error("some messages are gone:", value);
    } else {
      console.log(value);
    }
    since = position;
    writeFileSync(place, since);
  }
}
