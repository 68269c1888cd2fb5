/** Clips from files: what they are, how long they are, and whether the service takes them. */

import { duration, size } from "./words.js";

export class SourceError extends Error {}

const EXTENSIONS = {
  video: /\.(mp4|m4v|mov|webm|mkv|avi|mpe?g|ogv)$/i,
  audio: /\.(wav|mp3|m4a|aac|flac|ogg|oga|opus)$/i,
};
const METADATA_PATIENCE = 5000; // milliseconds until a file counts as one that this browser can't play

function kindOf(file) {
  if (/^video\//.test(file.type) || EXTENSIONS.video.test(file.name)) return "video";
  if (/^audio\//.test(file.type) || EXTENSIONS.audio.test(file.name)) return "audio";
  if (/json$/.test(file.type) || /\.json$/i.test(file.name)) return "json";
  if (file.type === "text/plain" || /\.txt$/i.test(file.name)) return "text";
  return null;
}

/**
 * The source of the files that a visitor chose: at most one video, one sound, one text; or one JSON file of features.
 *
 * Returns {video, audio, text, features, seconds, playable, pictures}; seconds is null where the browser can't tell, and
 * pictures is false where it can't show them.
 */
export async function readFiles(files, model) {
  const source = { video: null, audio: null, text: null, features: null, seconds: null, playable: false, pictures: false };
  for (const file of files) {
    const kind = kindOf(file);
    if (kind === null) throw new SourceError(`${file.name} is neither a video, a sound nor a text. Choose an MP4, MOV, WebM, WAV, MP3 or TXT file.`);
    if (model.limits?.bytes && file.size > model.limits.bytes) {
      throw new SourceError(`${file.name} has ${size(file.size)}; this service takes at most ${size(model.limits.bytes)}. Choose a shorter or smaller clip.`);
    }
    if (file.size === 0) throw new SourceError(`${file.name} is empty.`);
    if (kind === "text") source.text = (await file.text()).trim();
    else if (kind === "json") source.features = await readFeatures(file, model);
    else source[kind] = file;
  }
  const media = source.video ?? source.audio;
  if (media && !model.media) {
    throw new SourceError("This model reads features, not recordings. Give it a JSON file: {\"features\": {name: rows of numbers, …}}.");
  }
  if (media) {
    const { seconds, pictures } = await mediaLength(media);
    Object.assign(source, { seconds, pictures, playable: seconds !== null });
    checkLength(source.seconds, model);
  }
  return source;
}

/** Refuse a clip that is longer than the service's limit, before it is sent. */
export function checkLength(seconds, model) {
  const most = model.limits?.seconds;
  if (most && seconds !== null && seconds > most + 0.5) {
    throw new SourceError(`The clip lasts ${duration(seconds)}; this service takes at most ${duration(most)}. Cut it, or choose another.`);
  }
}

async function readFeatures(file, model) {
  let data;
  try {
    data = JSON.parse(await file.text());
  } catch {
    throw new SourceError(`${file.name} is no valid JSON.`);
  }
  const features = data?.features ?? data;
  const known = typeof features === "object" && features !== null && Object.keys(features).some((name) => model.modalities.includes(name));
  if (!known) throw new SourceError(`${file.name} holds none of ${model.modalities.join(", ")}. It should be {"features": {name: rows of numbers, …}}.`);
  return features;
}

/** Length of a file in seconds, null if this browser can't play it, and whether it shows pictures. */
function mediaLength(file) {
  return new Promise((resolve) => {
    const element = document.createElement("video");
    const url = URL.createObjectURL(file);
    const finish = (seconds) => {
      clearTimeout(timer);
      const pictures = element.videoWidth > 0;
      element.removeAttribute("src");
      URL.revokeObjectURL(url);
      resolve({ seconds, pictures });
    };
    const timer = setTimeout(() => finish(null), METADATA_PATIENCE);
    element.preload = "metadata";
    element.onloadedmetadata = () => {
      if (Number.isFinite(element.duration)) finish(element.duration);
      else element.currentTime = 1e9; // a recording without a length in its header: its end tells
    };
    element.ondurationchange = () => { if (element.readyState > 0 && Number.isFinite(element.duration)) finish(element.duration); };
    element.onerror = () => finish(null);
    element.src = url;
  });
}
