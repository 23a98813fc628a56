// One job as it is seen: state, progress, picture or player, and what can be done with it.

import { STATES, excerpt, isFinal, measures, moment, stateOf, whereabouts } from "./words.js";

const template = document.getElementById("card");
const PREVIEW_EVERY_MS = 2000;
const MOST_PAUSE_MS = 30_000;
const SEEN_IN = new Set(["denoise", "decode", "write"]); // stages in which there can be a preview
const SURE_FOR_MS = 5000;

export class Card {
  #shown = null; // the picture: of which kind, as a blob and as its address
  #fetching = false;
  #pause = PREVIEW_EVERY_MS;
  #nextPicture = 0;
  #player = null;

  /** `acts`: cancel, remove, remix(card, {again}), say; `eyes`: tells which cards are in view. */
  constructor(video, api, acts, eyes) {
    Object.assign(this, { api, acts, inView: false });
    this.element = template.content.firstElementChild.cloneNode(true);
    this.element.card = this;
    this.prompt = this.#find(".prompt");
    this.prompt.id = `prompt-of-${video.id}`;
    this.image = this.#find(".picture img");
    this.player = this.#find("video");
    this.playButton = this.#find(".play");
    this.prompt.textContent = video.prompt ?? "";
    this.element.dataset.id = video.id;
    this.element.setAttribute("aria-labelledby", this.prompt.id);
    const [width, height] = (video.size ?? "1x1").split("x").map(Number);
    this.element.style.setProperty("--ratio", width / height || 1);
    const time = this.#find("time");
    time.textContent = moment(video.created_at);
    time.dateTime = new Date(video.created_at * 1000).toISOString();
    this.#find(".seed").addEventListener("click", () => this.#copySeed());
    this.playButton.addEventListener("click", () => this.play());
    this.#act("cancel", () => this.acts.cancel(this));
    this.#act("remix", () => this.acts.remix(this, { again: false }));
    this.#act("again", () => this.acts.remix(this, { again: true }));
    this.#act("download", () => this.#download());
    this.#act("delete", (button) => this.#delete(button));
    this.update(video);
    eyes.observe(this.element);
  }

  get id() {
    return this.element.dataset.id;
  }

  update(video) {
    const before = this.video && stateOf(this.video);
    const state = stateOf(video);
    this.video = video;
    const completed = video.status === "completed";
    this.element.dataset.state = state;
    this.#find(".state").textContent = STATES[state] ?? state;
    this.#find(".way").hidden = isFinal(video);
    this.#progress(video);
    this.#error(video.status === "failed" && state !== "cancelled" ? (video.error?.message ?? "The render failed.") : "");
    this.#notes(video.notes ?? []);
    this.#find(".seed").textContent = video.seed ?? "";
    this.#find(".seed").setAttribute("aria-label", `${video.seed}, copy this seed`);
    this.#find(".seed").parentElement.hidden = video.seed == null;
    this.#find(".measures").textContent = measures(video);
    this.#offer({ cancel: !isFinal(video), download: completed, remix: true, again: isFinal(video), delete: isFinal(video) });
    this.playButton.hidden = !completed || this.#player !== null;
    this.playButton.setAttribute("aria-label", `Play: ${excerpt(video.prompt ?? "")}`);
    if (video.status === "failed") this.#hidePicture();
    if (state !== before) this.#nextPicture = 0;
    this.picture();
  }

  /** Fetches the picture of this state, where it is in view and there can be a new one. */
  async picture() {
    const kind = this.#wanted();
    if (!kind || !this.inView || this.#fetching || Date.now() < this.#nextPicture) return;
    this.#fetching = true;
    try {
      const blob = await this.api.media(`v1/videos/${this.id}/${kind === "preview" ? kind : "content?variant=thumbnail"}`);
      this.#pause = PREVIEW_EVERY_MS;
      if (this.#wanted() === kind) this.#show(kind, blob);
    } catch {
      this.#pause = Math.min(MOST_PAUSE_MS, 2 * this.#pause); // there is none yet, or previews are off
    }
    this.#fetching = false;
    this.#nextPicture = Date.now() + this.#pause;
  }

  #wanted() {
    const { status, stage } = this.video;
    if (status === "in_progress" && SEEN_IN.has(stage)) return "preview";
    return status === "completed" && this.#shown?.kind !== "thumbnail" ? "thumbnail" : null;
  }

  #show(kind, blob) {
    this.#hidePicture();
    this.#shown = { kind, blob, address: URL.createObjectURL(blob) };
    this.image.src = this.#shown.address;
    this.image.alt = kind === "preview" ? "The first frame as it looks so far" : "The first frame of the video";
    this.image.hidden = this.#player !== null;
    this.playButton.hidden = kind === "preview" || this.#player !== null;
  }

  #hidePicture() {
    if (this.#shown) URL.revokeObjectURL(this.#shown.address);
    this.#shown = null;
    this.image.hidden = true;
  }

  async play() {
    if (this.#player) return;
    this.playButton.ariaBusy = "true";
    try {
      this.#player = URL.createObjectURL(await this.api.media(`v1/videos/${this.id}/content`));
    } catch (error) {
      return this.#error(error.message);
    } finally {
      this.playButton.ariaBusy = "false";
    }
    this.player.src = this.#player;
    if (this.#shown?.address) this.player.poster = this.#shown.address;
    this.player.setAttribute("aria-label", `Video: ${excerpt(this.video.prompt ?? "")}`);
    Object.assign(this.player, { controls: true, muted: true, loop: this.acts.loops(), hidden: false, tabIndex: 0 });
    this.image.hidden = this.playButton.hidden = true;
    this.player.focus({ preventScroll: true });
    await this.player.play().catch(() => {});
  }

  /** A blob of how it looks, or null. */
  get likeness() {
    return this.#shown?.blob ?? null;
  }

  say(message) {
    this.#error(message);
  }

  leave() {
    for (const address of [this.#shown?.address, this.#player]) if (address) URL.revokeObjectURL(address);
    this.element.remove();
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #act(name, perform) {
    const button = this.#find(`[data-act=${name}]`);
    button.addEventListener("click", () => perform(button));
  }

  #offer(acts) {
    for (const [name, offered] of Object.entries(acts)) this.#find(`[data-act=${name}]`).hidden = !offered;
  }

  #progress(video) {
    const bar = this.#find("progress");
    bar.hidden = video.status === "queued";
    bar.value = video.progress;
    bar.setAttribute("aria-label", `Progress of: ${excerpt(video.prompt ?? "")}`);
    this.#find(".where").textContent = whereabouts(video);
  }

  #error(message) {
    const line = this.#find(".error");
    line.textContent = message;
    line.hidden = !message;
  }

  #notes(notes) {
    const list = this.#find(".notes");
    list.hidden = !notes.length;
    list.replaceChildren(...notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
  }

  async #copySeed() {
    const button = this.#find(".seed");
    if (!(await copy(String(this.video.seed), button))) return this.#error("This browser does not let the page copy.");
    this.acts.say(`Seed ${this.video.seed} copied`);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  }

  async #download() {
    try {
      const address = URL.createObjectURL(await this.api.media(`v1/videos/${this.id}/content`));
      Object.assign(document.createElement("a"), { href: address, download: `${this.id}.mp4` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      this.#error(error.message);
    }
  }

  #delete(button) {
    if (button.classList.contains("sure")) return this.acts.remove(this);
    const calm = () => {
      button.classList.remove("sure");
      button.textContent = "Delete";
    };
    button.classList.add("sure");
    button.textContent = "Really delete?";
    this.acts.say("Press again to delete this video for good");
    setTimeout(calm, SURE_FOR_MS);
    button.addEventListener("blur", calm, { once: true });
  }
}

/** Copies a text; plain http has no clipboard, but the old way, which moves the focus. */
async function copy(text, focused) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text).then(() => true, () => false);
  const area = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  focused.focus();
  return copied;
}
