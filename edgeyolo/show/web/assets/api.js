// What the server is asked, and its events. Knows when the connection is lost, and comes back by itself.

const SILENCE_MS = 5000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;

export async function ask(path, body) {
  const request = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let response;
  try {
    response = await fetch(path, request);
  } catch {
    throw new Error("The server cannot be reached.");
  }
  if (response.status === 401) location.reload(); // the token has changed
  const value = await response.json().catch(() => ({ error: response.statusText }));
  if (!response.ok) throw new Error(value.hint ? `${value.error} (${value.hint})` : value.error);
  return value;
}

// Calls handlers[kind](value) for each event; onLink(true or false) when the connection comes and goes.
export class Events {
  #source = null;
  #handlers;
  #onLink;
  #heard = performance.now();
  #retry = FIRST_RETRY_MS;
  #timer = 0;
  #linked = false;
  #lastId = ""; // what came before it is not told again

  constructor(handlers, onLink) {
    this.#handlers = handlers;
    this.#onLink = onLink;
    this.#open();
    setInterval(() => this.#check(), 1000);
  }

  #open() {
    this.#timer = 0;
    this.#heard = performance.now();
    this.#source = new EventSource(`/events?after=${encodeURIComponent(this.#lastId)}`);
    for (const [kind, handle] of Object.entries(this.#handlers)) {
      this.#source.addEventListener(kind, (event) => {
        this.#alive();
        this.#lastId = event.lastEventId || this.#lastId;
        handle(JSON.parse(event.data));
      });
    }
    this.#source.addEventListener("error", () => this.#again());
  }

  #alive() {
    this.#heard = performance.now();
    this.#retry = FIRST_RETRY_MS;
    if (!this.#linked) this.#onLink((this.#linked = true));
  }

  // A connection that is cut without a word says nothing: silence is a loss too.
  #check() {
    if (!this.#timer && performance.now() - this.#heard > SILENCE_MS) this.#again();
  }

  #again() {
    if (this.#timer) return;
    this.#source.close();
    if (this.#linked) this.#onLink((this.#linked = false));
    this.#timer = setTimeout(() => this.#open(), this.#retry);
    this.#retry = Math.min(this.#retry * 1.6, LAST_RETRY_MS);
    ask("/api/status").catch(() => {}); // a token that has changed shows here
  }
}
