/** Patterns: the same rules as the daemon's. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checked, matching } from "../src/pattern.ts";

const MATCHES: [pattern: string, topic: string, matches: boolean][] = [
  ["a/b", "a/b", true],
  ["a/b", "a/b/c", false],
  ["a/*", "a/b", true],
  ["a/*", "a", false],
  ["a/*", "a/b/c", false],
  ["*/b", "a/b", true],
  ["a/**", "a/b/c", true],
  ["a/**", "a", false],
  ["**", "a/b", true],
  ["**", "$stats/daemon", false],
  ["*/daemon", "$stats/daemon", false],
  ["$stats/*", "$stats/daemon", true],
  ["a.c", "abc", false],
  ["a.c", "a.c", true],
  ["(a|b)", "a", false],
  ["[x]/*", "[x]/y", true],
  ["a/*", "a/\u2028", true],
  ["a\\d", "a1", false],
];

for (const [pattern, topic, matches] of MATCHES)
  test(`${pattern} ${matches ? "means" : "does not mean"} ${JSON.stringify(topic)}`, () => {
    assert.equal(matching([pattern])(topic), matches);
    assert.equal(matching(["other", pattern])(topic), matches);
  });

test("what the daemon would refuse is refused", () => {
  for (const wrong of ["", "/", "a//b", "/a", "a/", "a\nb", "a\x85", "a/**/b", "a*", "***", "é".repeat(128)])
    assert.throws(() => checked(wrong, true), TypeError, wrong);
  for (const wrong of ["a/*", "**"]) assert.throws(() => checked(wrong, false), TypeError, wrong);
  assert.throws(() => checked("\ud800", true));
  for (const right of ["a", "é".repeat(127), "a/*", "**", "a b/%2F?#"]) assert.equal(checked(right, true), right);
});
