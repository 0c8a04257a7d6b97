// The networks of the course in the reader's browser: data and weights stand in scripts beside this one, because a page
// opened from a file may fetch nothing; a worker runs them. `LIVE.experiment(name, build)` says what an element with
// data-live="name" becomes when it is scrolled to.

window.LIVE = (() => {
  const folder = document.currentScript.src.replace(/[^/]*$/, "");
  const kept = new Map(); // what has been asked for: name → promise of its bytes
  const arriving = new Map();
  const builders = new Map();
  let groups = 0; // of radio buttons: each has a name of its own

  // ---- files -------------------------------------------------------------------------------------------------------
  const put = (name, text) => arriving.get(name)(text);

  // A plain loop: Uint8Array.from takes ten times as long, most of a second for the runtime.
  const bytesOf = (text) => {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i += 1) bytes[i] = letters.charCodeAt(i);
    return bytes;
  };

  const unzip = async (text) => {
    const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  const asset = (name) => {
    if (!kept.has(name)) {
      const text = new Promise((resolve, reject) => {
        arriving.set(name, resolve);
        const script = document.createElement("script");
        script.src = `${folder}${name}.js`;
        script.onerror = () => reject(new Error(`${name}.js is missing beside the page`));
        document.head.append(script);
      });
      kept.set(name, text.then(unzip));
    }
    return kept.get(name);
  };

  const json = async (name) => JSON.parse(new TextDecoder().decode(await asset(name)));

  // ---- networks ----------------------------------------------------------------------------------------------------
  const answers = new Map();
  let worker = null;
  let broken = null; // what has stopped the worker, or kept it from starting
  let asked = 0;

  const begin = async () => {
    const names = ["ort-script", "ort-glue", "ort-wasm", "worker"];
    const [script, glue, wasm, ours] = await Promise.all(names.map(asset));
    const text = { type: "text/javascript" };
    const started = new Worker(URL.createObjectURL(new Blob([script, "\n", ours], text)));
    started.onmessage = ({ data }) => {
      const [resolve, reject] = answers.get(data.id);
      answers.delete(data.id);
      if (data.error) reject(new Error(data.error));
      else resolve(data);
    };
    started.onerror = ({ message }) => {
      broken = new Error(`its worker stopped: ${message || "the browser does not say why"}`);
      for (const [, reject] of answers.values()) reject(broken);
      answers.clear();
    };
    started.postMessage({ start: { wasm: wasm.buffer, glue } });
    return started;
  };

  const ask = async (message) => {
    worker ??= begin();
    const started = await worker;
    if (broken) throw broken;
    return new Promise((resolve, reject) => {
      asked += 1;
      const id = asked;
      answers.set(id, [resolve, reject]);
      started.postMessage({ id, ...message });
    });
  };

  const loaded = new Map();
  const network = (name) => {
    if (!loaded.has(name))
      loaded.set(
        name,
        asset(name).then((model) => ask({ load: name, model })),
      );
    return loaded.get(name);
  };

  // inputs: name → {data: Float32Array, dims}; gives {outputs: name → {data, dims}, ms}
  const run = async (name, inputs) => {
    await network(name);
    return ask({ run: name, inputs });
  };

  // ---- images ------------------------------------------------------------------------------------------------------
  // Bytes, three a pixel, as a network takes them: channel after channel, with ImageNet's means and deviations.
  const photo = (pixels, side, { mean, std }) => {
    const data = new Float32Array(3 * side * side);
    for (let i = 0; i < side * side; i += 1)
      for (let c = 0; c < 3; c += 1) data[c * side * side + i] = (pixels[3 * i + c] / 255 - mean[c]) / std[c];
    return { data, dims: [1, 3, side, side] };
  };

  // The middle of the reader's own image, made as large as the network takes it.
  const ownImage = async (file, side) => {
    const image = await createImageBitmap(file);
    const most = Math.min(image.width, image.height);
    const canvas = new OffscreenCanvas(side, side);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (image.width - most) / 2, (image.height - most) / 2, most, most, 0, 0, side, side);
    const { data } = context.getImageData(0, 0, side, side);
    const pixels = new Uint8Array(3 * side * side);
    for (let i = 0; i < side * side; i += 1) for (let c = 0; c < 3; c += 1) pixels[3 * i + c] = data[4 * i + c];
    return pixels;
  };

  // ---- parts of a page ---------------------------------------------------------------------------------------------
  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };

  const button = (text, act) => element("button", { type: "button", onclick: act }, text);

  // Radio buttons with a name for the group; `act` is called with the value chosen.
  const choice = (label, values, act, start = values[0]) => {
    groups += 1;
    const group = `live-${groups}`;
    const radios = values.map((value) =>
      element(
        "label",
        {},
        element("input", { type: "radio", name: group, checked: value === start, onchange: () => act(value) }),
        ` ${value}`,
      ),
    );
    return element(
      "span",
      { role: "radiogroup", "aria-label": label, class: "live-choice" },
      element("b", {}, `${label} `),
      ...radios,
    );
  };

  const filePicker = (side, act) => {
    const input = element("input", {
      type: "file",
      accept: "image/*",
      "aria-label": "your own image",
      onchange: async () => input.files.length && act(await ownImage(input.files[0], side)),
    });
    return element("label", { class: "live-own" }, "your own image ", input);
  };

  // A square image of side × side pixels, drawn as squares; `draw(context, unit)` adds what lies above, in CSS pixels.
  const picture = (side, label, { interactive = false } = {}) => {
    const unit = Math.floor(384 / side);
    const canvas = element("canvas", { width: side * unit, height: side * unit, role: "img", "aria-label": label });
    if (interactive) canvas.tabIndex = 0;
    const context = canvas.getContext("2d");
    const paint = (pixels, draw) => {
      const image = new ImageData(side, side);
      for (let i = 0; i < side * side; i += 1) {
        for (let c = 0; c < 3; c += 1) image.data[4 * i + c] = pixels[3 * i + c];
        image.data[4 * i + 3] = 255;
      }
      const small = new OffscreenCanvas(side, side);
      small.getContext("2d").putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(small, 0, 0, side * unit, side * unit);
      if (draw) draw(context, unit);
    };
    // Where a pointer is, in pixels of the image.
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      const place = [event.clientY - box.top, event.clientX - box.left].map((p) => Math.floor((p / box.width) * side));
      return place.map((p) => Math.max(0, Math.min(side - 1, p)));
    };
    return { canvas, paint, at, side };
  };

  // Frames around the pixels of a set, as one path: only where the neighbour is outside.
  const outline = (context, unit, side, inside, colour, width = 2) => {
    context.beginPath();
    for (let y = 0; y < side; y += 1)
      for (let x = 0; x < side; x += 1) {
        if (!inside(y, x)) continue;
        const [left, top] = [x * unit, y * unit];
        if (y === 0 || !inside(y - 1, x)) {
          context.moveTo(left, top);
          context.lineTo(left + unit, top);
        }
        if (y === side - 1 || !inside(y + 1, x)) {
          context.moveTo(left, top + unit);
          context.lineTo(left + unit, top + unit);
        }
        if (x === 0 || !inside(y, x - 1)) {
          context.moveTo(left, top);
          context.lineTo(left, top + unit);
        }
        if (x === side - 1 || !inside(y, x + 1)) {
          context.moveTo(left + unit, top);
          context.lineTo(left + unit, top + unit);
        }
      }
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.stroke();
  };

  // Pointer and keyboard on a picture: `stroke(y, x, first)` while drawing, `move(y, x)` for the keyboard's cursor.
  const strokes = (shown, { step = 1, stroke, move }) => {
    const { canvas, at, side } = shown;
    let drawing = false;
    let [y, x] = [Math.floor(side / 2), Math.floor(side / 2)];
    canvas.style.touchAction = "none";
    canvas.addEventListener("pointerdown", (event) => {
      drawing = true;
      canvas.setPointerCapture(event.pointerId);
      stroke(...at(event), true);
    });
    canvas.addEventListener("pointermove", (event) =>
      drawing ? stroke(...at(event), false) : move?.(...at(event), false),
    );
    canvas.addEventListener("pointerup", () => (drawing = false));
    canvas.addEventListener("pointercancel", () => (drawing = false));
    const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const way = ways[event.key];
      if (way) {
        [y, x] = [y + step * way[0], x + step * way[1]].map((p) => Math.max(0, Math.min(side - 1, p)));
        if (event.shiftKey) stroke(y, x, false);
        move?.(y, x, true);
      } else if (event.key === " ") stroke(y, x, true);
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("focus", () => move?.(y, x, canvas.matches(":focus-visible")));
  };

  // Runs `compute` for the newest state only: what is asked for while one runs waits, and replaces what waited.
  // The element counts what has been shown in data-generation.
  const newest = (root, compute) => {
    let [running, waiting] = [false, false];
    return async function ask() {
      if (running) {
        waiting = true;
        return;
      }
      running = true;
      do {
        waiting = false;
        try {
          await compute();
          root.dataset.generation = Number(root.dataset.generation || 0) + 1;
        } catch (error) {
          root.dataset.error = error.message || String(error);
          root.querySelector(".live-said").textContent = `This experiment stopped: ${error.message}`;
        }
      } while (waiting);
      running = false;
    };
  };

  // ---- start -------------------------------------------------------------------------------------------------------
  const experiment = (name, build) => builders.set(name, build);

  const open = async (root) => {
    const stage = root.querySelector(".live-stage");
    try {
      if (
        typeof DecompressionStream === "undefined" ||
        typeof OffscreenCanvas === "undefined" ||
        typeof Worker === "undefined"
      )
        throw new Error("this browser is too old for it");
      const made = element("div", { class: "live-made", hidden: true });
      stage.append(made);
      for (const name of root.dataset.networks.split(" ")) network(name).catch(() => {}); // said where it is run
      await builders.get(root.dataset.live)(root, made);
      if (root.dataset.error) throw new Error(root.dataset.error);
      stage.replaceChildren(made);
      made.hidden = false;
    } catch (error) {
      root.dataset.error = error.message || String(error);
      stage.append(
        element("p", {}, `The experiment does not run here (${error.message}); the picture shows what it begins with.`),
      );
    }
  };

  const watch = () => {
    const seen = new IntersectionObserver(
      (entries) => {
        for (const entry of entries)
          if (entry.isIntersecting) {
            seen.unobserve(entry.target);
            open(entry.target);
          }
      },
      { rootMargin: "200px 0px 1000px" },
    );
    for (const root of document.querySelectorAll("[data-live]"))
      if (builders.has(root.dataset.live)) seen.observe(root);
  };
  document.addEventListener("DOMContentLoaded", watch);

  return {
    put,
    asset,
    json,
    network,
    run,
    bytesOf,
    photo,
    element,
    button,
    choice,
    filePicker,
    picture,
    outline,
    strokes,
    newest,
    experiment,
  };
})();
