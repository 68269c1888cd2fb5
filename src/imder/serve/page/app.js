/** The page: tabs, switches and settings bound to clips, recordings and live streams. */

import { loadModel, setToken } from "./api.js";
import { Broadcast } from "./broadcast.js";
import { Clip } from "./clip.js";
import { Display } from "./display.js";
import { announce, byId, h, show } from "./dom.js";
import { explanation } from "./explain.js";
import { Recorder } from "./recorder.js";
import { readFiles } from "./source.js";
import { Stage } from "./stage.js";
import { Switches } from "./switches.js";
import { bindTabs } from "./tabs.js";
import { duration, listed, modalityName, size } from "./words.js";

const TYPING = 700; // milliseconds without a key before words are sent
const FIRST_STEPS = {
  clip: ["Give a clip.", "A few seconds of somebody speaking are enough."],
  record: ["Record a clip.", "Say something to the camera for a few seconds."],
  live: ["Start the stream.", "A prediction comes every second."],
};

/** What to do, where the prediction will be. */
const invitation = (tab) => h("ol", { class: "steps" }, [
  FIRST_STEPS[tab],
  ["Read the prediction.", "It comes with what else it may be."],
  ["Make a source fail.", "The prediction goes on with the rest, and says how much less sure it is."],
].map(([what, more]) => h("li", {}, h("span", {}, h("strong", {}, what), " ", more))));

class Page {
  constructor(model) {
    this.model = model;
    this.tab = "clip";
    this.clips = { clip: null, record: null };
    this.stage = new Stage();
    this.display = new Display(model, this.stage.video);
    this.switches = new Switches(byId("switches"), model.modalities, (ignored, modality) => this.switched(modality));
    const problems = { onProblem: (error) => this.problem(error), onNotice: (sentence) => this.notice(sentence) };
    this.recorder = new Recorder(this.stage, model, this.switches, {
      ...problems, onStart: () => this.cleared(), onClip: (source) => this.use("record", source),
    });
    this.broadcast = new Broadcast(this.stage, model, this.switches, {
      ...problems, settings: () => this.settings(), onState: () => this.arrange(),
      onRows: (rows, remarks) => { if (this.tab === "live") this.display.live(rows, this.switches.ignored, remarks); },
    });
    bindTabs(document.querySelector(".tabs"), (name) => this.open(name));
    this.bindFiles();
    this.bindWords();
    for (const id of ["mode", "window", "hop"]) byId(id).addEventListener("change", () => this.refresh());
    byId("cancel").addEventListener("click", () => this.cancel());
    this.describe();
    this.open("clip");
  }

  /** Texts that depend on the model. */
  describe() {
    const { model } = this;
    const { limits = {} } = model;
    const bounds = [limits.seconds && `at most ${duration(limits.seconds)}`, limits.bytes && size(limits.bytes)].filter(Boolean);
    byId("drop-hint").textContent = `${model.media ? "Video or sound, with a text if you have one" : "A JSON file of features"}${bounds.length ? `; ${bounds.join(", ")}` : ""}.`;
    byId("model-card").textContent = `${model.name ? `${model.name}: ` : ""}${model.task === "classification" ? `${model.classes.length} classes` : "a score"} from ${listed(model.modalities.map((name) => modalityName(name).toLowerCase()))}`;
    byId("explain").replaceChildren(...explanation(model));
    show(byId("tab-record"), model.media);
    show(byId("tab-live"), model.media && model.stream !== false);
  }

  bindFiles() {
    const input = byId("file");
    for (const id of ["choose", "another"]) byId(id).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      this.choose([...input.files]);
      input.value = "";
    });
    const stage = this.stage.element;
    for (const type of ["dragover", "drop"]) window.addEventListener(type, (event) => event.preventDefault());
    stage.addEventListener("dragover", () => stage.classList.add("over"));
    stage.addEventListener("dragleave", () => stage.classList.remove("over"));
    stage.addEventListener("drop", (event) => {
      stage.classList.remove("over");
      if (this.tab === "clip") this.choose([...event.dataTransfer.files]);
    });
  }

  bindWords() {
    const words = byId("words");
    let timer;
    words.addEventListener("input", () => {
      clearTimeout(timer);
      if (this.tab !== "live") timer = setTimeout(() => this.refresh(), TYPING);
    });
    words.addEventListener("keydown", (event) => {
      if (this.tab !== "live" || event.key !== "Enter" || event.shiftKey) return;
      event.preventDefault();
      this.say();
    });
    byId("say").addEventListener("click", () => this.say());
  }

  say() {
    const words = byId("words");
    this.broadcast.say(words.value);
    words.value = "";
    words.focus();
  }

  open(name) {
    if (this.tab === "record" && name !== "record") this.recorder.abandon();
    if (this.tab === "live" && name !== "live" && this.broadcast.running) this.broadcast.close();
    for (const clip of Object.values(this.clips)) clip?.stop();
    this.tab = name;
    this.hideAlert();
    this.display.progress(null);
    byId("panel").setAttribute("aria-labelledby", `tab-${name}`);
    const clip = this.clips[name];
    byId("words").value = clip?.words ?? "";
    if (clip) this.showClip(clip);
    else this.display.empty(invitation(name));
    if (name === "live" && this.broadcast.rows.length) this.display.live(this.broadcast.rows, this.switches.ignored);
    this.arrange();
    if (clip) this.refresh();
  }

  /** Show the controls of the tab. */
  arrange() {
    const { tab } = this;
    const clip = this.clips[tab];
    const live = tab === "live";
    if (tab === "clip" && !clip) this.stage.showDrop();
    if (tab === "record" && !clip && !this.recorder.stream) this.idle("Camera and microphone start with “Record”");
    if (live && !this.broadcast.running) this.idle("Camera and microphone start with “Start”");
    show(byId("record"), tab === "record");
    show(byId("start"), live);
    show(byId("another"), tab === "clip" && Boolean(clip));
    const reads = this.model.modalities.includes("language") && this.model.media;
    show(byId("words-box"), reads);
    show(byId("say"), live);
    byId("say").disabled = !this.broadcast.running;
    byId("words-label").textContent = live ? "Say words by typing" : "Words spoken (optional)";
    byId("words-hint").textContent = live ? "" : wordsHint(this.model);
  }

  idle(sentence) {
    this.stage.clear();
    this.stage.say(sentence);
  }

  settings() {
    const value = (id, least) => Math.max(least, Number(byId(id).value) || least);
    return { mode: byId("mode").value, window: value("window", 0.5), hop: value("hop", 0.25) };
  }

  async choose(files) {
    if (!files.length) return;
    this.hideAlert();
    try {
      const source = await readFiles(files, this.model);
      if (source.text) byId("words").value = source.text;
      this.use("clip", source);
    } catch (error) {
      this.problem(error);
    }
  }

  /** A new clip of a tab. */
  use(name, source) {
    this.clips[name]?.stop();
    this.clips[name] = new Clip(source, (clip) => { if (this.clips[this.tab] === clip) this.render(clip); });
    this.display.timeline.selected = 0;
    if (this.tab !== name) return;
    this.showClip(this.clips[name]);
    this.arrange();
    this.refresh();
  }

  cleared() {
    this.hideAlert();
    this.clips[this.tab]?.stop();
    this.clips[this.tab] = null;
    this.display.progress(null);
    this.display.empty(invitation(this.tab));
  }

  showClip({ source }) {
    const media = source.video ?? source.audio;
    if (media) this.stage.showClip(media, { playable: source.playable, sound: !source.video, pictures: source.pictures });
    else this.idle(source.features ? "Features" : "Words alone");
  }

  /** Predict the tab's clip again, with the switches and settings as they are. */
  refresh() {
    const clip = this.clips[this.tab];
    if (!clip) return;
    this.hideAlert();
    clip.words = byId("words").value.trim();
    if (this.switches.allFail) {
      clip.stop();
      this.display.progress(null);
      this.display.empty("Everything fails: there is nothing to predict from. Let one source work again.");
      announce("Everything fails: there is nothing to predict from.");
      return;
    }
    clip.update(this.switches.ignored, { text: clip.words, ...this.settings() });
  }

  switched(modality) {
    if (this.tab === "live") {
      this.broadcast.switched(modality);
      announce(this.switches.sentence);
    } else this.refresh();
  }

  render(clip) {
    this.display.progress(clip.waiting);
    if (clip.waiting) return;
    if (clip.error) {
      this.display.empty("No prediction.");
      this.problem(clip.error);
    } else this.display.clip(clip.shown, clip.source.seconds);
  }

  cancel() {
    const clip = this.clips[this.tab];
    clip?.stop();
    this.display.progress(null);
    if (!clip?.shown) this.display.empty("Stopped. Turn a switch or choose a clip to predict again.");
  }

  /** An error that stops what was asked, with what can be done. */
  problem(error) {
    console.debug(error);
    if (error.status === 401) {
      askForToken(error.message, () => { this.hideAlert(); this.refresh(); });
      return;
    }
    const again = error.status !== undefined && this.tab !== "live";
    alertBox(error.message, again ? { "Try again": () => this.refresh() } : {});
  }

  /** Something to know that stops nothing. */
  notice(sentence) {
    alertBox(sentence, { Close: () => this.hideAlert() }, "notice");
  }

  hideAlert() {
    show(byId("alert"), false);
  }
}

function alertBox(sentence, actions = {}, kind = "error") {
  const box = byId("alert");
  box.className = `alert ${kind}`;
  box.replaceChildren(h("p", {}, sentence), ...Object.entries(actions).map(([name, run]) => h("button", { class: "button small", type: "button", onclick: run }, name)));
  show(box, true);
  box.scrollIntoView({ block: "nearest" });
}

function askForToken(sentence, onToken) {
  const use = () => {
    setToken(input.value);
    onToken();
  };
  const input = h("input", { type: "password", id: "token", autocomplete: "off", onkeydown: (event) => { if (event.key === "Enter") use(); } });
  alertBox(sentence);
  byId("alert").append(h("label", { for: "token" }, "Access token"), input, h("button", { class: "button small", type: "button", onclick: use }, "Use"));
  input.focus();
}

function wordsHint({ transcribes }) {
  if (transcribes) return "Without them, the service writes down what it hears.";
  return transcribes === false ? "Without them, the words count as missing." : "Without them, the words count as missing, unless the service can write down what it hears.";
}

async function start() {
  let model;
  try {
    model = await loadModel();
  } catch (error) {
    if (error.status === 401) askForToken(error.message, start);
    else alertBox(error.message, { "Try again": start });
    return;
  }
  show(byId("alert"), false);
  show(byId("workspace"), true);
  new Page(model);
}

start();
