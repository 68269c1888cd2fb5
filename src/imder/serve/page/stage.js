/** The picture on the left: a clip to play, the camera's preview, or the place to drop a file. */

import { byId, show } from "./dom.js";

export class Stage {
  constructor() {
    this.element = byId("stage");
    this.video = byId("video");
    this.note = byId("stage-note");
    this.badge = byId("badge");
    this.drop = byId("drop");
    this.url = null;
  }

  /** The place for dropping files. */
  showDrop() {
    this.clear();
    show(this.drop, true);
  }

  /** A clip with the browser's controls. */
  showClip(file, { playable, sound, pictures }) {
    this.clear();
    if (!playable) {
      this.say("This browser cannot play the file. The service may read it all the same.");
      return;
    }
    this.url = URL.createObjectURL(file);
    Object.assign(this.video, { controls: true, muted: false, src: this.url });
    this.video.setAttribute("aria-label", "Your clip");
    this.element.classList.toggle("sound-only", sound);
    show(this.video, true);
    if (!sound && !pictures) this.say("This browser cannot show the pictures. The service may read them all the same.");
  }

  /** What the camera sees. */
  showCamera(stream) {
    this.clear();
    const sees = stream.getVideoTracks().length > 0;
    Object.assign(this.video, { controls: false, muted: true, srcObject: stream });
    this.video.setAttribute("aria-label", "Preview of the camera");
    this.video.play().catch(() => {});
    this.element.classList.add("preview");
    show(this.video, true);
    if (!sees) this.say("Sound alone");
  }

  say(text) {
    this.note.textContent = text;
    show(this.note, Boolean(text));
  }

  /** A word in the corner: "recording", "live". */
  mark(text) {
    this.badge.textContent = text;
    show(this.badge, Boolean(text));
  }

  clear() {
    this.video.pause();
    this.video.srcObject = null;
    this.video.removeAttribute("src");
    this.video.load();
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    this.element.classList.remove("preview", "sound-only", "dark");
    for (const element of [this.video, this.drop]) show(element, false);
    this.say("");
    this.mark("");
  }
}
