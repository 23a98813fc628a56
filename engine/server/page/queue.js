// The jobs, newest first, as they are now: the list is polled, and of those under way a few are streamed.

import { Card } from "./card.js";
import { STATES, excerpt, isFinal, stateOf } from "./words.js";

const PAGE = 50;
const MOST_STREAMS = 2; // a browser opens six connections to a host, and other tabs need some too
const IDLE_MS = 10_000;
const LEAST_MS = 250;
const MOST_MS = 30_000;
const MOST_PLACES = 6;

const at = (id) => document.getElementById(id);
const TITLE = document.title;

export class Queue {
  #cards = new Map();
  #streams = new Map();
  #pages = 1;
  #timer = 0;
  #misses = 0;
  #running = false;
  #round = 0;

  /** `acts`: say(text), trouble(text), remix(video, picture, {again}). */
  constructor(api, acts) {
    Object.assign(this, { api, acts });
    this.eyes = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        target.card.inView = isIntersecting;
        if (isIntersecting) target.card.picture();
      }
    }, { rootMargin: "200px" });
    at("older").addEventListener("click", () => {
      this.#pages += 1;
      this.refresh();
    });
    at("loop").addEventListener("change", () => {
      for (const card of this.#cards.values()) card.player.loop = at("loop").checked;
    });
    document.addEventListener("visibilitychange", () => this.#running && !document.hidden && this.refresh());
  }

  start() {
    this.#running = true;
    return this.refresh();
  }

  /** Stops asking, and forgets all jobs: they may be another's now. */
  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    for (const stream of this.#streams.values()) stream.abort();
    this.#streams.clear();
    for (const card of this.#cards.values()) card.leave();
    this.#cards.clear();
    this.#pages = 1;
  }

  add(video) {
    this.#put(video, null);
    this.#settle();
    this.acts.say(`Taken: ${excerpt(video.prompt ?? "")}`);
    this.#later(LEAST_MS);
  }

  /** Fetches the list, and again after as long as the server asks for. */
  async refresh() {
    clearTimeout(this.#timer);
    const round = (this.#round += 1);
    let wait = IDLE_MS;
    try {
      const known = new Set(this.#cards.keys());
      const { videos, hasMore, pollAfter } = await this.#list();
      await this.#places(videos);
      await this.#readiness(videos);
      if (round !== this.#round || !this.#running) return;
      this.#sync(videos, known, hasMore);
      at("older").hidden = !hasMore;
      if (videos.some((video) => !isFinal(video))) wait = pollAfter;
      if (this.#misses) this.acts.trouble("");
      this.#misses = 0;
    } catch (error) {
      if (round !== this.#round || !this.#running || error.status === 401) return;
      this.#misses += 1;
      this.acts.trouble(error.status ? error.message : "The server does not answer; trying again.");
      wait = Math.min(MOST_MS, 1000 * 2 ** this.#misses);
    }
    this.#later(wait);
  }

  #later(wait) {
    clearTimeout(this.#timer);
    if (this.#running) this.#timer = setTimeout(() => this.refresh(), document.hidden ? MOST_MS : wait);
  }

  async #list() {
    const videos = [];
    for (let page = 0, after = ""; ; page += 1) {
      const response = await this.api.call(`v1/videos?limit=${PAGE}&order=desc${after && `&after=${after}`}`);
      const body = await response.json();
      videos.push(...body.data);
      const told = Number(response.headers.get("openai-poll-after-ms")) || 1000;
      const pollAfter = Math.min(MOST_MS, Math.max(LEAST_MS, told));
      if (!body.has_more || page + 1 >= this.#pages) return { videos, hasMore: body.has_more, pollAfter };
      after = encodeURIComponent(body.last_id);
    }
  }

  #sync(videos, known, hasMore) {
    const listed = new Set(videos.map((video) => video.id));
    const oldest = hasMore ? videos.at(-1).created_at : -Infinity;
    for (const card of [...this.#cards.values()]) {
      // Deleted elsewhere; jobs made since the list was asked for are not in it, but there.
      if (known.has(card.id) && !listed.has(card.id) && card.video.created_at > oldest) this.#drop(card);
    }
    let above = null;
    for (const video of videos) {
      if (!this.#streams.has(video.id) || isFinal(video)) this.#put(video, above);
      above = this.#cards.get(video.id)?.element ?? above;
    }
    this.#settle();
  }

  /** Lists do not tell places in the queue, single videos do; asked for those in view that are next. */
  async #places(videos) {
    const waiting = videos.filter((video) => video.status === "queued" && this.#cards.get(video.id)?.inView);
    await Promise.all(waiting.slice(-MOST_PLACES).map(async (video) => {
      Object.assign(video, await this.api.json(`v1/videos/${video.id}`).catch(() => ({})));
    }));
  }

  /** Says why nothing is rendered, where videos wait and none is. */
  async #readiness(videos) {
    const stuck = videos.some((video) => video.status === "queued") && !videos.some((video) => video.status === "in_progress");
    const why = stuck ? await this.api.call("readyz").then(() => "", (error) => error.message) : "";
    at("waits").textContent = why && `Videos wait: ${why}.`;
    at("waits").hidden = !why;
  }

  /** Shows a video; a new one below the card `above`, or on top. */
  #put(video, above) {
    const card = this.#cards.get(video.id);
    if (card) {
      const before = stateOf(card.video);
      if (video.status === "queued") video.queue_position ??= card.video.queue_position;
      card.update(video);
      if (stateOf(video) !== before) this.acts.say(`${STATES[stateOf(video)]}: ${excerpt(video.prompt ?? "")}`);
      return;
    }
    const fresh = new Card(video, this.api, {
      cancel: (card) => this.#cancel(card),
      remove: (card) => this.#remove(card),
      remix: (card, how) => this.acts.remix(card.video, card.likeness, how),
      say: this.acts.say,
      loops: () => at("loop").checked,
    }, this.eyes);
    this.#cards.set(video.id, fresh);
    if (above) above.after(fresh.element);
    else at("jobs").prepend(fresh.element);
  }

  #drop(card) {
    const hadFocus = card.element.contains(document.activeElement);
    this.#streams.get(card.id)?.abort();
    this.#streams.delete(card.id);
    this.#cards.delete(card.id);
    this.eyes.unobserve(card.element);
    card.leave();
    if (hadFocus) at("queue-title").focus();
  }

  /** What follows from the jobs that are there: counts, the empty state, who is streamed. */
  #settle() {
    const videos = [...this.#cards.values()].map((card) => card.video);
    const rendering = videos.filter((video) => video.status === "in_progress");
    const waiting = videos.filter((video) => video.status === "queued").length;
    const counts = [rendering.length && `${rendering.length} rendering`, waiting && `${waiting} waiting`];
    at("counts").textContent = counts.filter(Boolean).join(", ");
    document.title = rendering.length ? `${rendering.at(-1).progress} % · ${TITLE}` : TITLE;
    at("empty").hidden = videos.length > 0;
    at("loop-label").hidden = !videos.some((video) => video.status === "completed");
    for (const video of rendering) {
      if (this.#streams.size < MOST_STREAMS && !this.#streams.has(video.id)) this.#stream(video.id);
    }
  }

  async #stream(id) {
    const stream = new AbortController();
    this.#streams.set(id, stream);
    try {
      for await (const video of this.api.events(`v1/videos/${id}/events`, stream.signal)) {
        if (video.id !== id || !this.#cards.has(id) || !this.#streams.has(id)) break;
        this.#put(video);
        this.#settle();
        if (isFinal(video)) break;
      }
    } catch {
      // Polling goes on by itself.
    } finally {
      if (this.#streams.get(id) === stream) this.#streams.delete(id);
      stream.abort();
      if (this.#running) this.#later(LEAST_MS);
    }
  }

  async #cancel(card) {
    await this.#perform(card, async () => {
      const video = await this.api.json(`v1/videos/${card.id}/cancel`, { method: "POST" });
      this.#put(video);
      this.#settle();
      card.element.querySelector("[data-act=delete]").focus();
    });
  }

  async #remove(card) {
    await this.#perform(card, async () => {
      await this.api.call(`v1/videos/${card.id}`, { method: "DELETE" });
      const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
      this.#drop(card);
      this.#settle();
      next?.querySelector("[data-act]:not([hidden])")?.focus();
      this.acts.say(`Deleted: ${excerpt(card.video.prompt ?? "")}`);
    });
  }

  async #perform(card, act) {
    try {
      await act();
    } catch (error) {
      if (error.status === 404) this.#drop(card);
      else card.say(error.message);
    }
  }
}
