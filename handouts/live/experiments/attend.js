// Where does a token attend, and does it matter?

LIVE.experiment("attend", async (root, made) => {
  const { element, button, choice, picture, photo, run, row, column, said, hint } = LIVE;
  const data = await LIVE.json("objects");
  const { side, patch } = data;
  const cells = side / patch;
  const tokens = 1 + cells * cells;
  const objects = data.objects.map((object) => ({
    pixels: LIVE.bytesOf(object.pixels),
    name: data.classes[object.label],
  }));
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
      return Float64Array.from({ length: tokens }, (_, j) =>
        head === "mean" ? mean(l, from, j) : at(l, Number(head) - 1, from, j),
      );
    }
    // Attention rollout from the last layer backwards: half of a token is its own residual.
    let flow = Float64Array.from({ length: tokens }, (_, i) => Number(i === from));
    for (let l = layers - 1; l >= 0; l -= 1) {
      const next = flow.map((value) => value / 2);
      for (let i = 0; i < tokens; i += 1)
        if (flow[i] > 0) for (let j = 0; j < tokens; j += 1) next[j] += (flow[i] / 2) * mean(l, i, j);
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
    const who = from
      ? `The patch in row ${Math.floor((from - 1) / cells) + 1}, column ${((from - 1) % cells) + 1}`
      : "The class token";
    words.textContent = `${who} has its largest weight, ${map[peak + 1].toFixed(2)}, on row ${Math.floor(peak / cells) + 1}, column ${(peak % cells) + 1}; ${map[0].toFixed(2)} on the class token.`;
  };
  const compute = LIVE.newest(root, async () => {
    const { outputs, ms } = await run("vit", { image: photo(pixels, side, data) });
    root.dataset.ms = ms.toFixed(1);
    answer = outputs;
    before ??= outputs.probabilities.data;
    const found = outputs.probabilities.data;
    const order = [...found.keys()].sort((a, b) => found[b] - found[a]).slice(0, 4);
    bars.replaceChildren(
      ...order.map((k) =>
        element(
          "div",
          {},
          element("span", {}, data.classes[k]),
          element("meter", { min: 0, max: 1, value: found[k], "aria-label": data.classes[k] }),
          element(
            "span",
            {},
            `${found[k].toFixed(2)}${pixels === object.pixels ? "" : `, before ${before[k].toFixed(2)}`}`,
          ),
        ),
      ),
    );
    draw();
  });
  const choose = (y, x) => {
    const i = Math.floor(y / patch) * cells + Math.floor(x / patch);
    if (mode === "attend from it") {
      from = i + 1;
      draw();
      return;
    }
    undone.push(pixels);
    pixels = pixels.slice();
    const mean = data.mean.map((value) => 255 * value);
    for (let v = 0; v < patch; v += 1)
      for (let u = 0; u < patch; u += 1)
        pixels.set(mean, 3 * ((Math.floor(i / cells) * patch + v) * side + (i % cells) * patch + u));
    draw();
    compute();
  };
  LIVE.strokes(left, {
    step: patch,
    stroke: (y, x, begins) => begins && choose(y, x),
    move: (y, x, shown) => {
      cursor = shown ? [Math.floor(y / patch), Math.floor(x / patch)] : null;
      draw();
    },
  });
  const begin = (chosen) => {
    [object, undone, before, from] = [chosen, [], null, 0];
    pixels = object.pixels;
    draw();
    return compute();
  };
  const names = objects.map((one) => one.name);
  const numbers = (count) => Array.from({ length: count }, (_, k) => `${k + 1}`);
  made.append(
    row(
      column("choose a patch", left.canvas),
      column("where it attends: bright", right.canvas),
      column("what the network says", bars),
    ),
    words,
    row(
      choice("a click on a patch means", ["attend from it", "erase it"], (value) => (mode = value)),
      button("class token", () => {
        from = 0;
        draw();
      }),
      button("undo", () => {
        if (undone.length) {
          pixels = undone.pop();
          compute();
        }
      }),
      button("start again", () => begin(object)),
    ),
    row(
      choice("layer", ["rollout", ...numbers(layers)], (value) => {
        layer = value;
        draw();
      }),
      choice("head", ["mean", ...numbers(heads)], (value) => {
        head = value;
        draw();
      }),
    ),
    row(
      choice("image", names, (name) => begin(objects[names.indexOf(name)])),
      LIVE.filePicker(side, (own) => begin({ pixels: own, name: "" })),
    ),
    hint("tab to the image, arrow keys move, space chooses or erases. In a rollout the heads are averaged."),
  );
  await begin(objects[0]);
});
