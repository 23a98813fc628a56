// What the page calls things: states, stages, durations.

const STAGES = {
  face: "Reading the face",
  text: "Reading the prompt",
  image: "Encoding the photo",
  denoise: "Denoising",
  decode: "Decoding frames",
  write: "Writing the file",
};

export const isFinal = (video) => video.status === "completed" || video.status === "failed";

const isCancelled = (video) => video.status === "failed" && video.error?.code === "cancelled";

/** One word for a state, as CSS knows it too. */
export function stateOf(video) {
  if (isCancelled(video)) return "cancelled";
  return video.status === "in_progress" ? "rendering" : video.status;
}

export const STATES = {
  queued: "Waiting",
  rendering: "Rendering",
  completed: "Ready",
  failed: "Failed",
  cancelled: "Cancelled",
};

export function duration(seconds) {
  if (seconds < 10) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Number((seconds / 3600).toFixed(1))} h`;
}

/** Where a job is: its place in the queue, or how far its render is, and the time that is left. */
export function whereabouts(video) {
  const queued = video.status === "queued";
  const parts = queued ? [placeOf(video.queue_position)] : [`${video.progress} %`, STAGES[video.stage] ?? "Starting"];
  if (video.eta_s >= 1) parts.push(queued ? `ready in about ${duration(video.eta_s)}` : `about ${duration(video.eta_s)} left`);
  return parts.join(" · ");
}

function placeOf(position) {
  if (!position) return "In the queue";
  return position === 1 ? "Next in the queue" : `Number ${position} in the queue`;
}

/** The facts of a video in a few words. */
export function measures(video) {
  const facts = [];
  if (video.num_frames) facts.push(`${video.num_frames} frames`);
  if (video.size) facts.push(video.size.replace("x", " × "));
  const spent = Object.values(video.stage_durations ?? {}).reduce((sum, seconds) => sum + seconds, 0);
  if (video.status === "completed" && spent > 0) facts.push(`rendered in ${duration(spent)}`);
  return facts.join(" · ");
}

/** A time as people read it: the hour of today, else the day too. */
export function moment(unix_s) {
  const date = new Date(unix_s * 1000);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}

export function excerpt(prompt, most = 60) {
  return prompt.length > most ? `${prompt.slice(0, most - 1).trimEnd()}…` : prompt;
}
