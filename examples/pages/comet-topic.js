/**
 * `<comet-topic topic="machine/*" since="last">` shows the newest message, and tells of each by an event `message`,
 * which bubbles: `detail` is the message.
 */
import Comet from "http://127.0.0.1:7080/comet.mjs";

const comet = new Comet(); // one for all elements: they share its connection

class CometTopic extends HTMLElement {
  static observedAttributes = ["topic", "since"];
  #subscription;

  connectedCallback() {
    const topic = this.getAttribute("topic");
    const since = this.getAttribute("since") ?? "last";
    this.#subscription = comet.subscribe(topic, (message) => this.#show(message), { since });
  }

  disconnectedCallback() {
    this.#subscription?.close();
    this.#subscription = undefined;
  }

  // Called for the attributes in the HTML, too, before the element is connected: there is nothing to change then.
  attributeChangedCallback() {
    if (!this.#subscription) return;
    this.disconnectedCallback();
    this.connectedCallback();
  }

  #show(message) {
    const { data } = message;
    this.textContent = typeof data === "string" ? data : JSON.stringify(data);
    this.dispatchEvent(new CustomEvent("message", { detail: message, bubbles: true }));
  }
}

customElements.define("comet-topic", CometTopic);
