// What each experiment shows and what it computes; `LIVE` of runtime.js does the rest.
"use strict";

(() => {
  const { element, button, choice, picture, photo, run } = LIVE;
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
  const row = (...children) => element("div", { class: "live-row" }, ...children);
  const column = (title, ...children) => element("div", { class: "live-column" }, element("div", {}, title), ...children);
  const said = () => element("p", { class: "live-said", role: "status", "aria-live": "polite" });
  const copy = (street) => ({ pixels: LIVE.bytesOf(street.pixels), labels: street.labels && LIVE.bytesOf(street.labels) });

  const argmax = ({ data, dims }) => {
    // (1, classes, h, w) → the number of the likeliest class of each pixel
    const [, classes, h, w] = dims;
    const best = new Uint8Array(h * w);
    for (let i = 0; i < h * w; i += 1) {
      let top = -1;
      for (let c = 0; c < classes; c += 1)
        if (data[c * h * w + i] > top) [top, best[i]] = [data[c * h * w + i], c];
    }
    return best;
  };
  const coloured = (labels, palette) => {
    const pixels = new Uint8Array(3 * labels.length);
    labels.forEach((label, i) => pixels.set(palette[label] ?? [0, 0, 0], 3 * i));
    return pixels;
  };
  const legend = (data, labels) => {
    const there = [...new Set(labels)].filter((label) => data.classes[label]).sort((a, b) => a - b);
    return there.map((label) =>
      element("span", { class: "live-key" }, element("i", { style: `background: rgb(${data.palette[label].join(" ")})` }), data.classes[label]));
  };

  // 1 · Does the U-Net see the object or its surroundings?
  LIVE.experiment("paint", async (root, made) => {
    const data = await LIVE.json("streets");
    const { side } = data;
    const streets = data.streets.map(copy);
    let [street, brush, width] = [streets[0], "grey", 7];
    let pixels = street.pixels.slice();
    let undone = [];
    let first = null; // the label map of the street as it was
    let labels = null;
    let cursor = null;

    const left = picture(side, "The street on which you paint", { interactive: true });
    const right = picture(side, "The label map of the U-Net; what has changed is framed in white");
    const [words, keys] = [said(), element("div", { class: "live-keys" })];
    const painted = (i) => [0, 1, 2].some((c) => pixels[3 * i + c] !== street.pixels[3 * i + c]);

    const draw = () => {
      left.paint(pixels, (context, unit) => {
        LIVE.outline(context, unit, side, (y, x) => painted(y * side + x), "#e69f00");
        if (!cursor) return;
        const [y, x] = cursor.map((p) => (p - Math.floor(width / 2)) * unit);
        context.strokeStyle = "#ffffff";
        context.lineWidth = 3;
        context.strokeRect(x, y, width * unit, width * unit);
        context.strokeStyle = "#000000";
        context.lineWidth = 1;
        context.strokeRect(x, y, width * unit, width * unit);
      });
    };
    const compute = LIVE.newest(root, async () => {
      const asked = pixels;
      const inputs = { image: photo(asked, side, data), gates: { data: new Float32Array(4).fill(1), dims: [4] } };
      const { outputs, ms } = await run("unet", inputs);
      labels = argmax(outputs.probabilities);
      root.dataset.ms = ms.toFixed(1);
      first ??= labels;
      const changed = (i) => labels[i] !== first[i];
      right.paint(coloured(labels, data.palette), (context, unit) =>
        LIVE.outline(context, unit, side, (y, x) => changed(y * side + x), "#ffffff"));
      let [under, beside, area] = [0, 0, 0];
      for (let i = 0; i < side * side; i += 1) {
        area += painted(i);
        if (changed(i)) painted(i) ? (under += 1) : (beside += 1);
      }
      words.textContent = area
        ? `You painted ${area} of ${side * side} pixels. The label changed at ${under} of them, and at ${beside} that you did not touch.`
        : "Nothing is painted yet.";
      keys.replaceChildren(...legend(data, labels));
    });
    const stroke = (y, x, begins) => {
      if (begins) undone.push(pixels);
      pixels = pixels.slice();
      const other = streets[(streets.indexOf(street) + 1) % streets.length];
      const half = Math.floor(width / 2);
      for (let v = Math.max(0, y - half); v <= Math.min(side - 1, y + half); v += 1)
        for (let u = Math.max(0, x - half); u <= Math.min(side - 1, x + half); u += 1) {
          const i = 3 * (v * side + u);
          const from = { grey: [128, 128, 128], "the next street": other.pixels.subarray(i, i + 3), "as it was": street.pixels.subarray(i, i + 3) };
          pixels.set(from[brush], i);
        }
      cursor = [y, x];
      draw();
      compute();
    };
    const begin = (chosen) => {
      [street, undone, first] = [chosen, [], null];
      pixels = street.pixels.slice();
      draw();
      return compute();
    };
    LIVE.strokes(left, { step: 3, stroke, move: (y, x, shown) => { cursor = shown ? [y, x] : null; draw(); } });
    const undo = () => {
      if (!undone.length) return;
      pixels = undone.pop();
      draw();
      compute();
    };
    const names = data.streets.map((_, k) => `${k + 1}`);
    made.append(
      row(column("the network's input: paint here", left.canvas), column("its label map; white: changed by your paint", right.canvas, keys)),
      words,
      row(choice("street", names, (name) => begin(streets[names.indexOf(name)])),
        LIVE.filePicker(side, (own) => begin({ pixels: own }))),
      row(choice("brush", ["grey", "the next street", "as it was"], (value) => (brush = value)),
        choice("width", ["3", "7", "15"], (value) => (width = Number(value)), "7"),
        button("undo", undo), button("start again", () => begin(street))),
      element("p", { class: "live-hint" }, "Keyboard: tab to the street, arrow keys move the brush, space paints, shift + arrow keys draw a line."),
    );
    await begin(streets[0]);
  });

  // 2 · What do skip connections carry?
  LIVE.experiment("skips", async (root, made) => {
    const data = await LIVE.json("streets");
    const { side } = data;
    const streets = data.streets.map(copy);
    let street = streets[0];
    const gates = new Float32Array(4).fill(1);
    const shown = { truth: picture(side, "The true labels"), unet: picture(side, "The label map of the U-Net with these skip connections"),
      twin: picture(side, "The label map of the U-Net trained without skip connections") };
    const [words, keys] = [said(), element("div", { class: "live-keys" })];

    // Errors, in all and within two pixels of a true boundary.
    const errors = (labels) => {
      let [near, nearWrong, wrong, counted] = [0, 0, 0, 0];
      for (let y = 0; y < side; y += 1)
        for (let x = 0; x < side; x += 1) {
          const truth = street.labels[y * side + x];
          if (truth === 255) continue;
          let boundary = false;
          for (let v = Math.max(0, y - 2); v <= Math.min(side - 1, y + 2); v += 1)
            for (let u = Math.max(0, x - 2); u <= Math.min(side - 1, x + 2); u += 1)
              boundary ||= street.labels[v * side + u] !== truth;
          const bad = labels[y * side + x] !== truth;
          [near, nearWrong, wrong, counted] = [near + boundary, nearWrong + (boundary && bad), wrong + bad, counted + 1];
        }
      return `${percent(wrong, counted)} of all pixels wrong, ${percent(nearWrong, near)} near a boundary`;
    };
    const compute = LIVE.newest(root, async () => {
      const image = photo(street.pixels, side, data);
      const [unet, twin] = [await run("unet", { image, gates: { data: gates.slice(), dims: [4] } }), await run("unet_without_skips", { image })];
      root.dataset.ms = unet.ms.toFixed(1);
      const [with_, without] = [unet, twin].map(({ outputs }) => argmax(outputs.probabilities));
      shown.truth.paint(coloured(street.labels, data.palette));
      shown.unet.paint(coloured(with_, data.palette));
      shown.twin.paint(coloured(without, data.palette));
      words.textContent = `With these skip connections: ${errors(with_)}. Trained without any: ${errors(without)}.`;
      keys.replaceChildren(...legend(data, street.labels));
    });
    const names = data.streets.map((_, k) => `${k + 1}`);
    const switches = [0, 1, 2, 3].map((level) => {
      const size = side >> level;
      const box = element("input", { type: "checkbox", checked: true, onchange: () => { gates[level] = Number(box.checked); compute(); } });
      return element("label", {}, box, ` ${size} × ${size}`);
    });
    const all = (on) => {
      gates.fill(Number(on));
      for (const label of switches) label.firstChild.checked = on;
      compute();
    };
    made.append(
      row(column("true labels", shown.truth.canvas), column("U-Net", shown.unet.canvas), column("its twin, trained without skip connections", shown.twin.canvas)),
      keys, words,
      row(element("span", { role: "group", "aria-label": "skip connections" }, element("b", {}, "skip connections "), ...switches),
        button("all on", () => all(true)), button("all off", () => all(false))),
      row(choice("street", names, (name) => { street = streets[names.indexOf(name)]; compute(); })),
    );
    await compute();
  });

  // 5 · Where does a token attend, and does it matter?
  LIVE.experiment("attend", async (root, made) => {
    const data = await LIVE.json("objects");
    const { side, patch } = data;
    const cells = side / patch;
    const tokens = 1 + cells * cells;
    const objects = data.objects.map((object) => ({ pixels: LIVE.bytesOf(object.pixels), name: data.classes[object.label] }));
    let [object, layer, head, mode] = [objects[0], "rollout", "mean", "attend from it"];
    let pixels = object.pixels.slice();
    let undone = [];
    let answer = null;
    let before = null;
    let from = 0; // the token whose weights are shown; 0 is the class token
    let cursor = null;

    const left = picture(side, "The image, a grid of patches; choose one", { interactive: true });
    const right = picture(side, "Where the token attends");
    const [words, bars] = [said(), element("div", { class: "live-bars" })];
    const [layers, heads] = [data.layers, data.heads];

    const weights = () => {
      const all = answer.attention.data; // (1, layers, heads, n, n)
      const at = (l, h, i, j) => all[((l * heads + h) * tokens + i) * tokens + j];
      const mean = (l, i, j) => Array.from({ length: heads }, (_, h) => at(l, h, i, j)).reduce((a, b) => a + b) / heads;
      if (layer !== "rollout") {
        const l = Number(layer) - 1;
        return Float64Array.from({ length: tokens }, (_, j) => (head === "mean" ? mean(l, from, j) : at(l, Number(head) - 1, from, j)));
      }
      // Attention rollout from the last layer backwards: half of a token is its own residual.
      let flow = Float64Array.from({ length: tokens }, (_, i) => Number(i === from));
      for (let l = layers - 1; l >= 0; l -= 1) {
        const next = flow.map((value) => value / 2);
        for (let i = 0; i < tokens; i += 1) if (flow[i] > 0) for (let j = 0; j < tokens; j += 1) next[j] += (flow[i] / 2) * mean(l, i, j);
        flow = next;
      }
      return flow;
    };
    const draw = () => {
      left.paint(pixels, (context, unit) => {
        const [u, grid] = [unit * patch, (i) => [Math.floor(i / cells), i % cells]];
        const frame = (y, x, colour, wide) => {
          context.strokeStyle = colour;
          context.lineWidth = wide;
          context.strokeRect(x * u + 1, y * u + 1, u - 2, u - 2);
        };
        if (from) frame(...grid(from - 1), "#e69f00", 4);
        if (cursor) frame(...cursor, "#ffffff", 2);
      });
      if (!answer) return;
      const map = weights();
      const most = Math.max(...map.subarray(1));
      right.paint(pixels, (context, unit) => {
        for (let i = 0; i < cells * cells; i += 1) {
          // Dark where no weight is: the colours of the image stay.
          context.fillStyle = `rgba(0, 0, 30, ${0.75 * (1 - map[i + 1] / most)})`;
          context.fillRect((i % cells) * patch * unit, Math.floor(i / cells) * patch * unit, patch * unit, patch * unit);
        }
      });
      const [peak] = [...map.subarray(1).keys()].sort((a, b) => map[b + 1] - map[a + 1]);
      const who = from ? `The patch in row ${Math.floor((from - 1) / cells) + 1}, column ${((from - 1) % cells) + 1}` : "The class token";
      words.textContent = `${who} has its largest weight, ${map[peak + 1].toFixed(2)}, on row ${Math.floor(peak / cells) + 1}, column ${(peak % cells) + 1}; ${map[0].toFixed(2)} on the class token.`;
    };
    const compute = LIVE.newest(root, async () => {
      const { outputs, ms } = await run("vit", { image: photo(pixels, side, data) });
      root.dataset.ms = ms.toFixed(1);
      answer = outputs;
      before ??= outputs.probabilities.data;
      const found = outputs.probabilities.data;
      const order = [...found.keys()].sort((a, b) => found[b] - found[a]).slice(0, 4);
      bars.replaceChildren(...order.map((k) =>
        element("div", {}, element("span", {}, data.classes[k]), element("meter", { min: 0, max: 1, value: found[k], "aria-label": data.classes[k] }),
          element("span", {}, `${found[k].toFixed(2)}${pixels === object.pixels ? "" : `, before ${before[k].toFixed(2)}`}`))));
      draw();
    });
    const choose = (y, x) => {
      const i = Math.floor(y / patch) * cells + Math.floor(x / patch);
      if (mode === "attend from it") { from = i + 1; draw(); return; }
      undone.push(pixels);
      pixels = pixels.slice();
      const mean = data.mean.map((value) => 255 * value);
      for (let v = 0; v < patch; v += 1)
        for (let u = 0; u < patch; u += 1)
          pixels.set(mean, 3 * ((Math.floor(i / cells) * patch + v) * side + (i % cells) * patch + u));
      draw();
      compute();
    };
    LIVE.strokes(left, { step: patch, stroke: (y, x, begins) => begins && choose(y, x),
      move: (y, x, shown) => { cursor = shown ? [Math.floor(y / patch), Math.floor(x / patch)] : null; draw(); } });
    const begin = (chosen) => {
      [object, undone, before, from] = [chosen, [], null, 0];
      pixels = object.pixels;
      draw();
      return compute();
    };
    const names = objects.map((one) => one.name);
    const numbers = (count) => Array.from({ length: count }, (_, k) => `${k + 1}`);
    made.append(
      row(column("choose a patch", left.canvas), column("where it attends: bright", right.canvas), column("what the network says", bars)),
      words,
      row(choice("a click on a patch means", ["attend from it", "erase it"], (value) => (mode = value)),
        button("class token", () => { from = 0; draw(); }),
        button("undo", () => { if (undone.length) { pixels = undone.pop(); compute(); } }), button("start again", () => begin(object))),
      row(choice("layer", ["rollout", ...numbers(layers)], (value) => { layer = value; draw(); }),
        choice("head", ["mean", ...numbers(heads)], (value) => { head = value; draw(); })),
      row(choice("image", names, (name) => begin(objects[names.indexOf(name)])), LIVE.filePicker(side, (own) => begin({ pixels: own, name: "" }))),
      element("p", { class: "live-hint" }, "Keyboard: tab to the image, arrow keys move, space chooses or erases. In a rollout the heads are averaged."),
    );
    await begin(objects[0]);
  });
})();
