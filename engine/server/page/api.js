// The server's API: calls with the key where one is needed, errors in one line, events as they come.

const PLACE = "fantasyid-api-key";

/** What the server, or the way to it, did not allow; `status` 0 where nobody answered. */
export class Refusal extends Error {
  constructor(status, { code = "", message = "", param = null } = {}) {
    super(message || `The server answered ${status}; try again later.`);
    Object.assign(this, { status, code, param });
  }
}

async function refusalOf(response) {
  try {
    return new Refusal(response.status, (await response.json()).error);
  } catch {
    return new Refusal(response.status);
  }
}

export class Api {
  #key = sessionStorage.getItem(PLACE) ?? "";

  /** `onKeyNeeded()` is called whenever the server answers 401. */
  constructor(onKeyNeeded) {
    this.onKeyNeeded = onKeyNeeded;
  }

  get key() {
    return this.#key;
  }

  set key(key) {
    this.#key = key;
    if (key) sessionStorage.setItem(PLACE, key);
    else sessionStorage.removeItem(PLACE);
  }

  async call(path, { headers = {}, ...options } = {}) {
    const key = this.#key;
    let response;
    try {
      response = await fetch(path, {
        ...options,
        headers: key ? { ...headers, Authorization: `Bearer ${key}` } : headers,
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(0, { code: "unreachable", message: "The server does not answer; see whether it runs, then try again." });
    }
    if (response.ok) return response;
    const refusal = await refusalOf(response);
    if (response.status === 401 && key === this.#key) this.onKeyNeeded();
    throw refusal;
  }

  async json(path, options) {
    return (await this.call(path, options)).json();
  }

  /** A picture or video: elements of the page cannot send a key themselves, so they are given blobs. */
  async media(path) {
    return (await this.call(path)).blob();
  }

  /** The data of server-sent events, parsed, until the server or `signal` ends them. */
  async *events(path, signal) {
    const response = await this.call(path, { signal, headers: { Accept: "text/event-stream" } });
    let buffer = "";
    for await (const text of chunks(response.body.pipeThrough(new TextDecoderStream()))) {
      const blocks = (buffer + text).split(/\r?\n\r?\n/);
      buffer = blocks.pop();
      for (const block of blocks) {
        const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
        const data = lines.map((line) => line.slice(5)).join("\n").trim();
        if (data.startsWith("{")) yield JSON.parse(data);
      }
    }
  }
}

// Not every browser iterates over a stream by itself yet.
async function* chunks(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
