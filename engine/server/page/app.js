// The page: asks what is served, and for a key where one is needed; then there are a form and a queue.

import { Api } from "./api.js";
import { Form } from "./form.js";
import { Queue } from "./queue.js";
import { duration } from "./words.js";

const at = (id) => document.getElementById(id);
const RETRY_MS = 3000;
const MINIATURES = new Set(["avatar-mini"]);

const news = [];
function say(text) {
  news.push(text);
  if (news.length > 1) return;
  // What happens at once is said at once; and the same words twice are news twice.
  at("announce").textContent = "";
  setTimeout(() => (at("announce").textContent = news.splice(0).join(". ")), 100);
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

const api = new Api(askForKey);
const form = new Form(api, say, (video) => queue.add(video));
const queue = new Queue(api, { say, trouble, remix: (video, picture, how) => form.fill(video, picture, how) });

function askForKey() {
  queue.stop();
  at("desk").hidden = true;
  at("key-panel").hidden = false;
  at("forget-key").hidden = true;
  at("key-error").textContent = api.key ? "This key is not valid here." : "";
  at("key-error").hidden = !api.key;
  at("key").ariaInvalid = String(Boolean(api.key));
  api.key = "";
  at("key").value = "";
  at("key").focus();
}

function describe(model) {
  const facts = [model.id];
  facts.push(`${model.size.replace("x", " × ")} pixels`);
  const frames = model.frame_counts.at(-1);
  if (frames) facts.push(`${frames} frames, ${duration(frames / model.fps)}`);
  at("model").textContent = facts.join(" · ");
  const words = [];
  if (MINIATURES.has(model.id)) words.push("This is a miniature for drawn avatars; it takes no photos of real people.");
  if (!model.trained) words.push("It is not trained: its videos show noise.");
  at("notice").textContent = words.join(" ");
  at("notice").hidden = !words.length;
}

async function open() {
  let model;
  try {
    model = (await api.json("v1/models")).data[0];
  } catch (error) {
    if (error.status === 401) return;
    trouble(error.status ? error.message : "The server does not answer; trying again.");
    setTimeout(open, RETRY_MS);
    return;
  }
  trouble("");
  at("key-panel").hidden = true;
  at("desk").hidden = false;
  at("forget-key").hidden = !api.key;
  if (model) {
    describe(model);
    form.fit(model);
  } else {
    at("model").textContent = "The model is loading for the first time; videos can be made in a while.";
    setTimeout(open, RETRY_MS);
  }
  queue.start();
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.key = at("key").value.trim();
  if (api.key) open();
});
at("forget-key").addEventListener("click", () => {
  api.key = "";
  open();
});
open();
