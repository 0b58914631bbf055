import { readable } from "svelte/store";
import Comet from "../comet.mjs";

const comet = new Comet("http://127.0.0.1:7080/"); // one for the application: all components share its connection

/** A store of the last `keep` messages of a topic. It is subscribed while somebody looks at the store. */
export function topic(name, { since = "-50", keep = 50 } = {}) {
  return readable([], (set) => {
    let messages = [];
    const take = (message) => set((messages = [...messages, message].slice(-keep)));
    const subscription = comet.subscribe(name, take, { since });
    return () => subscription.close();
  });
}

/** How things stand: `open`, `waiting`, and so on. */
export const connection = readable(comet.state, (set) => comet.on("state", ({ state }) => set(state)));
