/** Server-Sent Events as the daemon writes them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parser } from "../src/transports/sse.ts";

test("messages, control and heartbeats are told apart", () => {
  const text = [
    ":     ",
    "event: comet",
    "id: a-1",
    "retry: 2000",
    'data: {"comet":"open","stream":"c0ffee","position":"a-1","silence":25.0}',
    "",
    "id: a-2",
    'data: {"id":"a-2","topic":"t","time":1,"data":"id: a-9"}',
    "",
    "event: comet",
    "id: a-5",
    "",
    "event: comet",
    'data: {"comet":"gap","since":"a-5","until":"a-8"}',
    "",
    "",
  ];
  assert.deepEqual(text.flatMap(parser()), [
    { comet: "open", stream: "c0ffee", position: "a-1", silence: 25 },
    { id: "a-2", topic: "t", time: 1, data: "id: a-9" },
    { comet: "beat", position: "a-5" },
    { comet: "gap", since: "a-5", until: "a-8" },
  ]);
});
