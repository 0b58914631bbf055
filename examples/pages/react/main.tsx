import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { useConnection, useTopic } from "./use-topic.ts";

function Room({ name }: { name: string }) {
  const messages = useTopic<{ text: string }>(`chat/${name}`);
  return (
    <ol>
      {messages.map(({ id, data }) => (
        <li key={id}>{data.text}</li>
      ))}
    </ol>
  );
}

function App() {
  const [room, setRoom] = useState("lobby");
  return (
    <>
      <select value={room} onChange={(changed) => setRoom(changed.target.value)}>
        <option>lobby</option>
        <option>kitchen</option>
      </select>
      {useConnection()}
      <Room name={room} />
    </>
  );
}

createRoot(document.getElementById("app")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
