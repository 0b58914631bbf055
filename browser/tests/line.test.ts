/** Positions and cursors. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { advanced, isAfter, sameLog } from "../src/line.ts";

test("positions are compared by number, within one log", () => {
  assert(isAfter("a-10", "a-9"));
  assert(!isAfter("a-9", "a-9"));
  assert(!isAfter("b-10", "a-9"));
  assert(sameLog("a-1", "a-2"));
  assert(!sameLog("a-1", "a1-1"));
  assert(!sameLog("a-1", "now"));
});

test("messages and told positions move the cursor on, and never back", () => {
  const message = (id: string) => ({ id, topic: "t", time: 0, data: 0 });
  assert.equal(advanced("a-1", message("a-2")), "a-2");
  assert.equal(advanced("a-3", message("a-2")), "a-3");
  assert.equal(advanced("a-1", message("b-2")), "a-1");
  assert.equal(advanced("a-1", { comet: "beat", position: "a-7" }), "a-7");
  assert.equal(advanced("a-7", { comet: "topics", topics: [], position: "a-1" }), "a-7");
  assert.equal(advanced("a-7", { comet: "topics", topics: [] }), "a-7");
});

test("a gap in the same log leaves the cursor, because retained messages may stand in it", () => {
  assert.equal(advanced("a-1", { comet: "gap", since: "a-1", until: "a-9" }), "a-1");
});

test("a gap to another log begins with that log's first message", () => {
  assert.equal(advanced("a-9", { comet: "gap", since: "a-9", until: "b-4" }), "b-0");
});

test("a cursor ahead of the log's end goes back to it", () => {
  assert.equal(advanced("a-9", { comet: "gap", since: "a-9", until: "a-4" }), "a-4");
});
