// Tokens for the visitors of an Express application: node examples/tokens/with-express.mjs
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import session from "cookie-session";
import express from "express";
import jwt from "jsonwebtoken";

const KEY = readFileSync(process.env.PUSH_KEY ?? "comet.key", "utf8").trim();
const LIFE = 300;
const app = express();
app.use(session({ secret: process.env.SECRET ?? "only for this example" }));

// Quoted, because somebody may choose the name "**", which would be a pattern.
const quoted = (name) => encodeURIComponent(name).replaceAll("*", "%2A");
const allowed = (user) => ({ subscribe: ["chat/*", `user/${quoted(user)}`], publish: ["chat/lobby"] });

function loggedIn(request, response, next) {
  if (request.session.user) next();
  else response.status(401).send("log in first");
}

// A token for the next minutes.
app.get("/token", loggedIn, ({ session: { user } }, response) => {
  const token = jwt.sign({ comet: allowed(user) }, KEY, { algorithm: "HS256", subject: user, expiresIn: LIFE });
  response.set("Cache-Control", "no-store").type("text").send(token);
});

// The daemon asks with the visitor's cookies: for those who come without a token.
app.get("/comet/authorize", loggedIn, ({ session: { user } }, response) => {
  response.json({ sub: user, ttl: LIFE, comet: allowed(user) });
});

// Believes whoever comes: here an application checks a password.
app.post("/login", express.json(), (request, response) => {
  request.session.user = String(request.body.user);
  response.sendStatus(204);
});

app.get("/", (request, response) => response.sendFile(fileURLToPath(new URL("page.html", import.meta.url))));

app.listen(process.env.PORT ?? 8000, "127.0.0.1");
