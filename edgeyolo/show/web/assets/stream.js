// Pictures of all visible cameras over one connection: a browser opens six to a host, and a page may show sixteen.
// Form: 4 bytes length of the head, 4 bytes length of the JPEG, the head as JSON, the JPEG.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 5000;
const SETTLE_MS = 150;

export class FrameStream {
  #wishes = new Map(); // camera -> width
  #running = "";
  #abort = null;
  #retry = FIRST_RETRY_MS;
  #timer = 0;
  #onFrame;

  // onFrame(head, blob): head has camera, frame, unix_s.
  constructor(onFrame) {
    this.#onFrame = onFrame;
    document.addEventListener("visibilitychange", () => this.#settle(0));
    addEventListener("pagehide", () => this.#stop());
    addEventListener("pageshow", (event) => event.persisted && this.#settle(0));
  }

  wish(camera, width) {
    if (this.#wishes.get(camera) === width) return;
    this.#wishes.set(camera, width);
    this.#settle(SETTLE_MS);
  }

  forget(camera) {
    if (this.#wishes.delete(camera)) this.#settle(SETTLE_MS);
  }

  restart() {
    this.#stop();
    this.#settle(0);
  }

  // Looks at the wishes when they have stopped changing.
  #settle(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#update(), delay);
  }

  #update() {
    const wanted = document.hidden ? "" : new URLSearchParams([...this.#wishes].map(([camera, width]) => [camera, String(width)])).toString();
    if (wanted === this.#running) return;
    this.#stop();
    if (wanted) this.#run(wanted);
  }

  #stop() {
    this.#abort?.abort();
    this.#running = "";
  }

  async #run(wanted) {
    const abort = (this.#abort = new AbortController());
    this.#running = wanted;
    try {
      const response = await fetch(`/frames?${wanted}`, { signal: abort.signal });
      if (response.ok) await this.#read(response.body.getReader());
    } catch {
      // Lost or aborted; api.js tells the user.
    }
    if (abort.signal.aborted) return;
    this.#running = "";
    this.#settle(this.#retry);
    this.#retry = Math.min(this.#retry * 1.6, LAST_RETRY_MS);
  }

  async #read(reader) {
    let bytes = new Uint8Array(0);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#retry = FIRST_RETRY_MS;
      const more = new Uint8Array(bytes.length + value.length);
      more.set(bytes);
      more.set(value, bytes.length);
      bytes = this.#take(more);
    }
  }

  // Gives whole pictures away; returns what is left.
  #take(bytes) {
    let at = 0;
    while (bytes.length - at >= 8) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at);
      const jpegAt = at + 8 + view.getUint32(0);
      const end = jpegAt + view.getUint32(4);
      if (bytes.length < end) break;
      const head = JSON.parse(new TextDecoder().decode(bytes.subarray(at + 8, jpegAt)));
      this.#onFrame(head, new Blob([bytes.subarray(jpegAt, end)], { type: "image/jpeg" }));
      at = end;
    }
    return at ? bytes.slice(at) : bytes;
  }
}

// Shows the newest picture; one that comes while another is decoded waits, and the one before it is dropped.
export class Screen {
  #canvas;
  #busy = false;
  #waiting = null;
  onShow = () => {};

  constructor(canvas) {
    this.#canvas = canvas;
  }

  async show(blob) {
    this.#waiting = blob;
    if (this.#busy) return;
    this.#busy = true;
    while (this.#waiting) {
      const next = this.#waiting;
      this.#waiting = null;
      try {
        this.#draw(await createImageBitmap(next));
      } catch {
        // A picture that cannot be decoded is followed by one that can.
      }
    }
    this.#busy = false;
  }

  #draw(bitmap) {
    const canvas = this.#canvas;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    this.onShow(bitmap);
    bitmap.close();
  }
}
