/* The server, as the page asks it: JSON, streams of server-sent events, and questions (jobs). What
   goes wrong is an Unanswered with a sentence for a person. */

const KEY = "pellucid-key";
const AGAIN = 1500; /* ms between two looks whether the server is back */

/* status: of HTTP; 0 where nobody answered. wait: seconds after which to come back, or null. */
export class Unanswered extends Error {
  constructor(status, message, { code = "", wait = null } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }
}

export class Api {
  /* base: of the addresses. askKey(): a promise of an API key, or null where none is given.
     onstate("here" | "gone"): whenever that changes. */
  constructor({ base = document.baseURI, askKey = async () => null, onstate = (_) => {} } = {}) {
    this.base = base;
    this.askKey = askKey;
    this.onstate = onstate;
    this.gone = false;
    this.asking = null;
  }

  get(path, signal = null) {
    return this.json("GET", path, undefined, signal);
  }

  post(path, body, signal = null) {
    return this.json("POST", path, body, signal);
  }

  patch(path, body) {
    return this.json("PATCH", path, body);
  }

  delete(path) {
    return this.json("DELETE", path);
  }

  async json(method, path, body = undefined, signal = null) {
    const answer = await this.fetch(method, path, body, signal);
    return answer.json();
  }

  /* The answer, where it is one. Raises Unanswered, and AbortError. */
  async fetch(method, path, body = undefined, signal = null) {
    const headers = {};
    const key = sessionStorage.getItem(KEY);
    if (key) headers.authorization = `Bearer ${key}`;
    if (body !== undefined) headers["content-type"] = "application/json";
    let answer;
    try {
      answer = await fetch(new URL(path, this.base), {
        method,
        headers,
        signal,
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      this.lost();
      throw new Unanswered(0, "The server does not answer.");
    }
    this.found();
    if (answer.ok) return answer;
    if (answer.status === 401 && (await this.newKey(key))) return this.fetch(method, path, body, signal);
    throw await unanswered(answer);
  }

  /* Whether there is another key now; several requests ask a person once. */
  async newKey(old) {
    if (sessionStorage.getItem(KEY) !== old) return true;
    this.asking ??= this.askKey().finally(() => (this.asking = null));
    const key = await this.asking;
    if (key) sessionStorage.setItem(KEY, key);
    return Boolean(key);
  }

  /* Each event's data, up to [DONE]; { waits } where so many others come first. */
  async *stream(method, path, body = undefined, signal = null) {
    const answer = await this.fetch(method, path, body, signal);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").find((line) => line.startsWith("data: "));
          const waits = /^: (\d+) ahead$/.exec(event);
          if (waits) yield { waits: Number(waits[1]) };
          if (!data) continue;
          if (data === "data: [DONE]") return;
          const known = JSON.parse(data.slice(6));
          if (known.error && !known.object) throw new Unanswered(500, sentence(known.error.message), { code: known.error.code });
          yield known;
        }
      }
    } catch (error) {
      if (error.name === "AbortError" || error instanceof Unanswered) throw error;
      this.lost();
      throw new Unanswered(0, "The server does not answer any longer.");
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /* A question of /v1/inspect: waits for its answer. as: result or pictures. tell(text): how many come
     before it; "" once it is its turn. onprogress(done, total). A question that is aborted is given
     up on the server too. */
  async ask(kind, body, { signal = null, tell = (_) => {}, onprogress = null, as = "result" } = {}) {
    const come = () => this.post(`v1/inspect/${kind}`, body, signal);
    const job = await this.patiently(come, signal, (seconds, error) => tell(full(seconds, error)));
    const forget = () => this.delete(`v1/inspect/jobs/${job.id}`).catch(() => {});
    if (signal?.aborted) forget();
    signal?.addEventListener("abort", forget, { once: true });
    try {
      if (onprogress || job.ahead) {
        for await (const { status, ahead, done, total } of this.stream("GET", `v1/inspect/jobs/${job.id}/events`, undefined, signal)) {
          tell(ahead ? queued(ahead) : "");
          if (!onprogress && status !== "queued") break;
          if (total) onprogress?.(done, total);
        }
      }
      return await this.get(`v1/inspect/jobs/${job.id}/${as}`, signal);
    } finally {
      signal?.removeEventListener("abort", forget);
    }
  }

  /* Tries again as often as the server asks for it. onwait(seconds, error). */
  async patiently(action, signal = null, onwait = (_, __) => {}) {
    for (;;) {
      try {
        return await action();
      } catch (error) {
        if (error.status !== 429 || signal?.aborted) throw error;
        onwait(error.wait ?? 1, error);
        await pause(1000 * (error.wait ?? 1), signal);
      }
    }
  }

  lost() {
    if (this.gone) return;
    this.gone = true;
    this.onstate("gone");
    const look = async () => {
      try {
        const answer = await fetch(new URL("health", this.base));
        if (answer.ok) return this.found();
      } catch {
        /* not yet */
      }
      setTimeout(look, AGAIN);
    };
    setTimeout(look, AGAIN);
  }

  found() {
    if (!this.gone) return;
    this.gone = false;
    this.onstate("here");
  }
}

export function pause(ms, signal = null) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(new DOMException("given up", "AbortError"));
      },
      { once: true },
    );
  });
}

/* Others come first: so many of them. */
export function queued(ahead) {
  if (!ahead) return "The server is busy; you are the next.";
  return `The server is busy; ${ahead === 1 ? "one other comes" : `${ahead} others come`} before you.`;
}

/* Too many come first, and one is sent away for some seconds. */
export function full(seconds, { message }) {
  return `The server is busy: ${message.split(";")[0].replace(/\.$/, "")}. This page comes back in ${seconds} s.`;
}

async function unanswered(answer) {
  const wait = Number(answer.headers.get("retry-after")) || null;
  try {
    const { error } = await answer.json();
    return new Unanswered(answer.status, sentence(error.message), { code: error.code, wait });
  } catch {
    return new Unanswered(answer.status, `The server answered ${answer.status}.`, { wait });
  }
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}
