import { useEffect, useState, useSyncExternalStore } from "react";
import Comet, { type Message, type Since } from "../comet.mjs";

// One for the application, and not in a component: all of them share its connection.
export const comet = new Comet("http://127.0.0.1:7080/");

/** The last `keep` messages of a topic. */
export function useTopic<Data>(topic: string, since: Since = "-50", keep = 50): readonly Message<Data>[] {
  const [messages, setMessages] = useState<readonly Message<Data>[]>([]);
  useEffect(() => {
    const take = (message: Message<Data>) => setMessages((before) => [...before, message].slice(-keep));
    const subscription = comet.subscribe<Data>(topic, take, { since });
    // StrictMode runs this effect twice: without the second line the history would be there twice.
    return () => {
      subscription.close();
      setMessages([]);
    };
  }, [topic, since, keep]);
  return messages;
}

const told = (changed: () => void) => comet.on("state", changed);

/** How things stand: `open`, `waiting`, and so on. */
export const useConnection = () => useSyncExternalStore(told, () => comet.state);
