// The form: what to render; its errors stand at the fields that they are about.

import { PhotoField } from "./photo.js";
import { Refusal } from "./api.js";

const at = (id) => document.getElementById(id);
const LARGEST_SEED = 2 ** 32 - 1;
const WHOLE = /^[+-]?\d+$/;

// Field, what it must be, and how it is said where it is not; the server knows the finer limits.
const NUMBERS = [
  ["seed", (text) => WHOLE.test(text) && text >= 0 && text <= LARGEST_SEED, `The seed is a whole number from 0 to ${LARGEST_SEED}.`],
  ["num_inference_steps", (text) => WHOLE.test(text) && text >= 1, "Steps is a whole number from 1."],
  ["guidance_scale", (text) => Number(text) >= 1 && Number(text) <= 100, "Guidance is a number from 1 to 100."],
  ["face_index", (text) => WHOLE.test(text) && text >= 1, "Faces are numbered from 1."],
  ["priority", (text) => WHOLE.test(text) && Math.abs(text) <= 100, "Priority is a whole number from -100 to 100."],
];
const TEXTS = ["negative_prompt", "consent_ref", "num_frames"];
const HINTS = { negative_prompt: "negative prompt", face_index: "1" };

export class Form {
  #attempt = null;

  /** `onCreated(video)` is called with each job that was taken. */
  constructor(api, announce, onCreated) {
    Object.assign(this, { api, announce, onCreated, model: null });
    this.form = at("make");
    this.photo = new PhotoField(() => {
      this.#changed("input_reference");
      this.#hint();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.form.addEventListener("input", (event) => this.#changed(event.target.name));
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
  }

  /** Fits the form to what the model can do. */
  fit(model) {
    this.model = model;
    this.#hint();
    const counts = model.frame_counts ?? [];
    at("num_frames").replaceChildren(
      ...counts.map((count) => new Option(count, count)).reverse(), // the default is the last one, and comes first here
    );
    this.#fieldOf("num_frames").hidden = counts.length < 2;
    this.#fieldOf("face_index").hidden = Boolean(model.one_face);
    at("sliders").replaceChildren(...(model.shape_names ?? []).map((name) => slider(name)));
    at("shape").hidden = !model.shape_names?.length;
    if (model.consent_required) {
      at("consent_ref").setAttribute("aria-required", "true");
      at("more").before(this.#fieldOf("consent_ref"));
    }
  }

  /** Says what fields that are left empty stand for. */
  #hint() {
    const kept = this.photo.source ? "as it was" : null;
    const hints = { ...HINTS, num_inference_steps: this.model?.num_inference_steps, guidance_scale: this.model?.guidance_scale };
    for (const [name, hint] of Object.entries(hints)) at(name).placeholder = kept ?? hint ?? "";
    at("shape-hint").textContent = kept ? "(untouched, it is as it was)" : "(0 is the face as it is)";
  }

  /** Prepares another video of the same face, or the same video again; `picture` is a blob of it, or null. */
  fill(video, picture, { again }) {
    this.#clearErrors();
    this.form.reset();
    for (const output of at("sliders").querySelectorAll("output")) output.value = "0";
    this.photo.takeFaceOf(video, picture);
    at("prompt").value = again ? (video.prompt ?? "") : "";
    at("seed").value = again ? video.seed : "";
    at("num_frames").value = video.num_frames;
    at("consent_ref").value = video.consent_ref ?? "";
    at("priority").value = video.priority || "";
    at("prompt").focus({ preventScroll: true });
    at("make-title").scrollIntoView({ block: "nearest" });
  }

  async #send() {
    if (this.form.ariaBusy === "true") return;
    this.#clearErrors();
    if (!this.#check()) return;
    this.form.ariaBusy = "true";
    at("send").textContent = "Sending…";
    try {
      this.onCreated(await this.#create());
      this.#attempt = null;
    } catch (error) {
      if (error.status > 0 && error.status < 500) this.#attempt = null;
      this.#refused(error);
    } finally {
      this.form.ariaBusy = "false";
      at("send").textContent = "Render video";
    }
  }

  #create() {
    // The same until something is changed: a retry after a lost answer gives the same job.
    this.#attempt ??= { key: drawKey(), seed: crypto.getRandomValues(new Uint32Array(1))[0] };
    const headers = { "Idempotency-Key": this.#attempt.key };
    const source = this.photo.source;
    const body = this.#body();
    const path = source ? `v1/videos/${encodeURIComponent(source.id)}/remix` : "v1/videos";
    return this.api.json(path, { method: "POST", headers, body });
  }

  #body() {
    const body = new FormData();
    body.append("prompt", at("prompt").value);
    for (const name of [...NUMBERS.map(([name]) => name), ...TEXTS]) {
      const field = at(name);
      if (field.value.trim() && !this.#fieldOf(name).hidden) body.append(name, field.value.trim());
    }
    for (const range of at("sliders").querySelectorAll("input")) {
      if (Number(range.value)) body.append(`shape[${range.dataset.name}]`, range.value);
    }
    // Of the same face, the server would take the earlier seed.
    if (this.photo.source && !body.has("seed")) body.append("seed", this.#attempt.seed);
    if (!this.photo.source) body.append("input_reference", this.photo.file, this.photo.file.name || "pasted.png");
    return body;
  }

  #check() {
    if (!this.photo.file && !this.photo.source) this.#fail("input_reference", "Add a photo of a face first.");
    if (!at("prompt").value.trim()) this.#fail("prompt", "Say what happens in the video.");
    if (this.model?.consent_required && !at("consent_ref").value.trim()) {
      this.#fail("consent_ref", "This server asks for the reference of a consent.");
    }
    for (const [name, allowed, message] of NUMBERS) {
      const text = at(name).value.trim();
      if (text && !allowed(text)) this.#fail(name, message);
    }
    return this.#focusFirst();
  }

  #refused(error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) return;
    const name = (error.param ?? "").split(/[.[]/)[0];
    this.#fail(at(`${name}-error`) && !this.#fieldOf(name)?.hidden ? name : "form", error.message);
    this.#focusFirst();
  }

  #fieldOf(name) {
    return this.form.querySelector(`[data-field="${CSS.escape(name)}"]`);
  }

  #fail(name, message) {
    const line = at(`${name}-error`);
    line.textContent = message;
    line.hidden = false;
    at(name)?.setAttribute("aria-invalid", "true");
    for (let box = line.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  }

  /** Puts the cursor where the first error is; true where there is none. */
  #focusFirst() {
    const first = this.form.querySelector(".error:not([hidden])");
    if (!first) return true;
    this.announce(first.textContent);
    this.form.querySelector("[aria-invalid=true]")?.focus();
    return false;
  }

  #changed(name) {
    this.#attempt = null;
    if (name) this.#clear(name.split("[")[0]);
    this.#clear("form");
  }

  #clear(name) {
    const line = at(`${name}-error`);
    if (!line) return;
    line.hidden = true;
    line.textContent = "";
    at(name)?.removeAttribute("aria-invalid");
  }

  #clearErrors() {
    for (const line of this.form.querySelectorAll(".error")) this.#clear(line.id.replace(/-error$/, ""));
  }
}

function slider(name) {
  const label = document.createElement("label");
  const range = Object.assign(document.createElement("input"), { type: "range", min: -3, max: 3, step: 0.1, value: 0 });
  const output = Object.assign(document.createElement("output"), { value: "0" });
  const words = document.createElement("span");
  words.textContent = name.replaceAll("_", " ");
  range.name = `shape[${name}]`;
  range.dataset.name = name;
  range.ariaLabel = words.textContent;
  output.ariaHidden = "true";
  range.addEventListener("input", () => (output.value = range.value));
  label.append(words, range, output);
  return label;
}

// randomUUID is there on https and localhost only.
function drawKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
