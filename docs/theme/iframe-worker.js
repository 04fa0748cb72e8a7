// The search runs in a worker, and a browser lets a page that was opened from a file have none. There, and only
// there, a hidden frame stands in for it. The offline plugin would load one like it from elsewhere, if no script of
// this name were given.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.inside = frame.contentWindow;
      this.inside.importScripts = async (...urls) => { for (const one of urls) await this.run(one); };
      this.inside.postMessage = data => this.tell(this, data);
      this.ready = this.run(url);
    }

    run(url) {
      return new Promise((done, failed) => {
        const script = this.inside.document.createElement("script");
        Object.assign(script, { src: url, onload: done, onerror: failed });
        this.inside.document.body.append(script);
      });
    }

    async postMessage(data) {
      await this.ready;
      this.tell(this.inside, data);
    }

    tell(whom, data) {
      whom.dispatchEvent(new MessageEvent("message", { data }));
    }
  };
}
