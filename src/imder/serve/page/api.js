/** The service over HTTP. Failures become a `ServiceError` with a sentence that a visitor understands. */

export class ServiceError extends Error {
  /** Status 0: no answer at all. `retryAfter` in seconds, or null where trying again is no use. */
  constructor(message, status, retryAfter = null) {
    super(message);
    Object.assign(this, { name: "ServiceError", status, retryAfter });
  }
}

const RETRIES = 3;
let token = "";

/** Access token of a service that asks for one; kept in this page's memory only. */
export const setToken = (value) => { token = value.trim(); };
export const getToken = () => token;

const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});
const NO_ANSWER = "The service doesn’t answer. Check that it is still running and that you are connected.";

/** The model's card: task, modalities, classes, scale, limits. */
export async function loadModel() {
  let response;
  try {
    response = await fetch("v1/model", { headers: authorization(), cache: "no-store" });
  } catch {
    throw new ServiceError(NO_ANSWER, 0);
  }
  const text = await response.text();
  if (!response.ok) throw failure(response.status, text, response.headers.get("Retry-After"));
  return JSON.parse(text);
}

/**
 * Predictions for a clip: {rows, remarks}, one row for each window; remarks ({modality, remark}) tell what could not be used.
 *
 * `request`: video, audio (File or Blob), text, features (of a JSON file), ignore, window, hop.
 * `onProgress(share)` while uploading, `onWait(seconds)` each second while a busy service is given time.
 */
export async function predict(request, { signal, onProgress = () => {}, onWait = () => {} } = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      const { predictions, remarks = [] } = await send(request, signal, onProgress);
      return { rows: predictions, remarks: remarks ?? [] };
    } catch (error) {
      const again = [429, 503].includes(error.status) && error.retryAfter !== null && attempt < RETRIES;
      if (!again) throw error;
      for (let left = Math.ceil(error.retryAfter); left > 0; left--) {
        onWait(left);
        await pause(1000, signal);
      }
    }
  }
}

function body({ video, audio, text, features, ignore = [], window, hop }) {
  if (features) return [JSON.stringify({ features, missing: ignore }), { "Content-Type": "application/json" }];
  const form = new FormData();
  // Names of files on the visitor's machine stay there.
  if (video) form.append("video", video, "video");
  if (audio) form.append("audio", audio, "audio");
  if (text) form.append("text", text);
  for (const modality of ignore) form.append("ignore", modality);
  if (window) {
    form.append("window", String(window));
    form.append("hop", String(hop));
  }
  return [form, {}];
}

/** XMLHttpRequest, because fetch tells nothing about the progress of an upload. */
function send(request, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const [data, headers] = body(request);
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "v1/predict");
    for (const [name, value] of Object.entries({ ...headers, ...authorization() })) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = (event) => { if (event.lengthComputable) onProgress(event.loaded / event.total); };
    xhr.onload = () => {
      if (xhr.status !== 200) return reject(failure(xhr.status, xhr.responseText, xhr.getResponseHeader("Retry-After")));
      try {
        resolve(JSON.parse(xhr.responseText));
      } catch {
        reject(new ServiceError("The service’s answer was cut off. Try again.", 0));
      }
    };
    xhr.onerror = () => reject(new ServiceError(NO_ANSWER, 0));
    xhr.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => xhr.abort(), { once: true });
    if (signal?.aborted) return reject(new DOMException("stopped", "AbortError"));
    xhr.send(data);
  });
}

function failure(status, text, retryAfter) {
  const seconds = retryAfter !== null && Number.isFinite(Number(retryAfter)) ? Math.min(60, Math.max(1, Number(retryAfter))) : null;
  return new ServiceError(sentence(text) ?? fallback(status), status, seconds);
}

/** The sentence of the service's answer, if it is one of its own. */
function sentence(text) {
  try {
    const { error } = JSON.parse(text);
    if (typeof error !== "string" || !error) return null;
    const upper = error.charAt(0).toUpperCase() + error.slice(1);
    return /[.!?]$/.test(upper) ? upper : `${upper}.`;
  } catch {
    return null;
  }
}

function fallback(status) {
  if (status === 401) return "This service asks for an access token.";
  if (status === 413) return "The clip is larger than this service accepts.";
  if (status === 415) return "The service doesn’t read files of this kind.";
  if (status === 429 || status === 503) return "The service is busy.";
  return `The service answered with status ${status}.`;
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(new DOMException("stopped", "AbortError")); }, { once: true });
  });
}
