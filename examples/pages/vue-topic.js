import { onScopeDispose, ref, shallowRef, toValue, watchEffect } from "vue";
import Comet from "http://127.0.0.1:7080/comet.mjs";

const comet = new Comet(); // one for the application: all components share its connection

/** The last `keep` messages of a topic, which may be a ref or a getter: then the subscription changes with it. */
export function useTopic(topic, { since = "-50", keep = 50 } = {}) {
  const messages = shallowRef([]);
  watchEffect((onCleanup) => {
    messages.value = [];
    const take = (message) => (messages.value = [...messages.value, message].slice(-keep));
    const subscription = comet.subscribe(toValue(topic), take, { since });
    onCleanup(() => subscription.close());
  });
  return messages;
}

/** How things stand: `open`, `waiting`, and so on. */
export function useConnection() {
  const state = ref(comet.state);
  onScopeDispose(comet.on("state", (told) => (state.value = told.state)));
  return state;
}
