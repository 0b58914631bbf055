// The box to publish from, and the same as commands.

import { publishing } from "./commands.js";
import { offerCommands } from "./copying.js";
import { at, say } from "./elements.js";

/** Milliseconds after which a message is given up that the daemon does not take. */
const PATIENCE = 10_000;

/** Have the form publish by `comet`. */
export function offerPublishing(comet, daemon) {
  const form = at("publish");
  const showCommands = offerCommands(at("publish-commands"), "Publish by");
  const filled = () => ({
    topic: at("topic").value,
    data: at("data").value,
    isJson: at("json").checked,
    key: at("key").value,
  });
  const offer = () => showCommands(publishing(daemon, filled()));

  form.addEventListener("input", offer);
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    publish(comet, filled());
  });
  at("data").addEventListener("keydown", (press) => {
    if (press.key !== "Enter" || !(press.ctrlKey || press.metaKey)) return;
    press.preventDefault();
    form.requestSubmit();
  });
  offer();
}

async function publish(comet, { topic, data, isJson, key }) {
  const options = { timeout: PATIENCE, type: isJson ? "application/json" : "text/plain" };
  if (key) options.key = key;
  const waiting = setTimeout(answer, 500, "Publishing …", "");
  try {
    const { id } = await comet.publish(topic, data, options);
    answer(`Published on ${topic} as ${id}`, "right");
  } catch (error) {
    answer(`Not published: ${error.message}`, "wrong");
  } finally {
    clearTimeout(waiting);
  }
}

function answer(text, kind) {
  say(at("answer"), text);
  at("answer").className = kind;
}
