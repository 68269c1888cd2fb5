// Browsers refuse to start a Web Worker from a file: page, so the site's search runs its worker script in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = this.onerror = this.onmessageerror = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.head.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      const address = new URL(url, document.baseURI).href;
      this.ready = new Promise((resolve, reject) => {
        // In a worker, postMessage(data) goes to the page; importScripts loads a script before the next statement.
        inside.postMessage = (data) => this.later(() => this.deliver("message", { data: structuredClone(data) }));
        inside.importScripts = (...urls) => Promise.all(urls.map((each) => this.load(new URL(each, address).href)));
        this.load(address).then(resolve, (error) => {
          this.deliver("error", {});
          reject(error);
        });
      });
      this.ready.catch(() => {});
    }

    load(address) {
      return new Promise((resolve, reject) => {
        const script = this.frame.contentDocument.createElement("script");
        script.src = address;
        script.onload = resolve;
        script.onerror = () => reject(new Error(`cannot load ${address}`));
        this.frame.contentDocument.head.appendChild(script);
      });
    }

    deliver(type, fields) {
      const event = Object.assign(new Event(type), fields);
      this[`on${type}`]?.(event);
      this.dispatchEvent(event);
    }

    // Messages arrive later, as copies, never while the sender is still at work.
    later(action) {
      setTimeout(action);
    }

    postMessage(data) {
      const copy = structuredClone(data);
      this.ready.then(() => {
        const inside = this.frame.contentWindow;
        this.later(() => inside.dispatchEvent(new inside.MessageEvent("message", { data: copy })));
      });
    }

    terminate() {
      this.frame.remove();
    }
  };
}
