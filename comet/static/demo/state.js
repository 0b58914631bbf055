// Tells how the connection stands, in the element of class "state": a page that may be out of date must not
// look live.
export function showState(comet) {
  const place = document.querySelector(".state");
  let counting;

  comet.on("state", ({ state, reason, transport, retry }) => {
    clearInterval(counting);
    place.className = `state ${state}`;
    place.title = reason ?? "";
    if (state === "open") place.textContent = `live by ${transport}`;
    else if (state !== "waiting") place.textContent = state === "connecting" ? "connecting …" : state;
    else countDown(Date.now() + retry);
  });

  function countDown(until) {
    const text = document.createElement("span");
    text.ariaHidden = "true"; // not to be read out every second
    const now = document.createElement("button");
    now.className = "small";
    now.textContent = "Try now";
    now.onclick = () => comet.retryNow();
    place.replaceChildren("no connection", text, now);
    const tell = () => {
      const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      text.textContent = `next try in ${seconds} s`;
    };
    tell();
    counting = setInterval(tell, 1000);
  }
}
