// The photo of the form: chosen, dropped or pasted; or the face of an earlier video.

import { excerpt } from "./words.js";

export class PhotoField {
  #address = null;

  /** `onChange()` is called when another photo, or none, is there. */
  constructor(onChange) {
    this.onChange = onChange;
    this.file = null;
    this.source = null; // the video whose face is taken
    this.input = document.getElementById("input_reference");
    this.drop = document.getElementById("drop");
    this.view = document.getElementById("photo-view");
    this.says = document.getElementById("photo-says");
    this.clearButton = document.getElementById("photo-clear");
    this.input.addEventListener("change", () => this.input.files.length && this.take(this.input.files[0]));
    this.clearButton.addEventListener("click", () => {
      this.clear();
      this.input.focus();
    });
    this.view.addEventListener("error", () => this.#cannotShow());
    this.#takeDrops();
    document.addEventListener("paste", (event) => this.#paste(event));
  }

  take(file) {
    this.#show(file, `${file.name || "pasted picture"}, ${size(file.size)}`);
    this.file = file;
    this.view.alt = "The photo that was chosen";
    this.onChange();
  }

  /** Takes the face of a video; `picture` is a blob of it, if there is one. */
  takeFaceOf(video, picture) {
    this.#show(picture, `The face of an earlier video: ${excerpt(video.prompt ?? "", 40)}`);
    this.source = video;
    this.view.alt = "The earlier video whose face is taken";
    this.clearButton.textContent = "Use another photo";
    this.onChange();
  }

  clear() {
    this.#show(null, "");
    this.onChange();
  }

  #show(picture, text) {
    if (this.#address) URL.revokeObjectURL(this.#address);
    this.#address = picture && URL.createObjectURL(picture);
    this.file = this.source = null;
    this.input.value = "";
    this.view.hidden = !picture;
    if (picture) this.view.src = this.#address;
    else this.view.removeAttribute("src");
    this.says.textContent = text;
    this.drop.classList.toggle("full", Boolean(picture));
    this.clearButton.textContent = "Remove photo";
    this.clearButton.hidden = !text;
  }

  #cannotShow() {
    if (this.view.hidden) return;
    this.view.hidden = true;
    this.drop.classList.remove("full");
    this.says.textContent += "; this browser cannot show it, the server will try";
  }

  #takeDrops() {
    // Anywhere on the page: a photo that misses the field must not replace the page.
    const mark = (on) => this.drop.classList.toggle("over", on);
    const hasFile = (event) => event.dataTransfer?.types.includes("Files");
    document.addEventListener("dragover", (event) => {
      if (!hasFile(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget === null && mark(false));
    document.addEventListener("drop", (event) => {
      mark(false);
      if (!hasFile(event)) return;
      event.preventDefault();
      if (event.dataTransfer.files.length) this.take(event.dataTransfer.files[0]);
    });
  }

  #paste(event) {
    const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
    if (!picture) return;
    event.preventDefault();
    this.take(picture);
  }
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
