// How much context does masked image modelling need?

LIVE.experiment("mask", async (root, made) => {
  const { element, button, choice, picture, photo, run, row, column, said, hint } = LIVE;
  const data = await LIVE.json("patches");
  const { side, patch } = data;
  const cells = side / patch;
  const count = cells * cells;
  const codes = LIVE.bytesOf(data.codes);
  const size = 3 * patch * patch;
  const streets = data.streets.map((street) => ({ pixels: LIVE.bytesOf(street.pixels), tokens: street.tokens }));
  let street = streets[0];
  let hidden = new Uint8Array(count);
  let undone = [];
  let cursor = null;
  let paints = 1;
  let filled = street.pixels;

  const left = picture(side, "The street on which you hide patches", { interactive: true });
  const right = picture(side, "The street with the hidden patches filled in by the network");
  const words = said();
  const place = (i) => [Math.floor(i / cells) * patch, (i % cells) * patch];

  const draw = () => {
    left.paint(street.pixels, (context, unit) => {
      for (let i = 0; i < count; i += 1) {
        if (!hidden[i]) continue;
        const [y, x] = place(i).map((p) => p * unit);
        const u = patch * unit;
        context.fillStyle = "#c9c3ce"; // opaque: who sees through does not have to predict
        context.fillRect(x, y, u, u);
      }
      if (!cursor) return;
      const [y, x] = cursor.map((p) => p * patch * unit);
      context.strokeStyle = "#e69f00";
      context.lineWidth = 3;
      context.strokeRect(x, y, patch * unit, patch * unit);
    });
    right.paint(filled);
  };
  // For each patch the nearest visible one, of equally near ones the first in reading order.
  const nearest = () =>
    Array.from({ length: count }, (_, i) => {
      let [best, least] = [i, Infinity];
      for (let j = 0; j < count; j += 1) {
        if (hidden[j]) continue;
        const far = (Math.floor(i / cells) - Math.floor(j / cells)) ** 2 + ((i % cells) - (j % cells)) ** 2;
        if (far < least) [best, least] = [j, far];
      }
      return best;
    });
  const compute = LIVE.newest(root, async () => {
    const [asked, shown] = [hidden, street];
    const inputs = {
      image: photo(shown.pixels, side, data),
      hidden: { data: Float32Array.from(asked), dims: [1, cells, cells] },
    };
    const { outputs, ms } = await run("beit", inputs);
    root.dataset.ms = ms.toFixed(1);
    const { data: all, dims } = outputs.probabilities;
    filled = shown.pixels.slice();
    let [found, copied, number] = [0, 0, 0];
    const near = nearest();
    for (let i = 0; i < count; i += 1) {
      if (!asked[i]) continue;
      const row = all.subarray(i * dims[2], (i + 1) * dims[2]);
      const token = row.indexOf(Math.max(...row));
      [number, found, copied] = [
        number + 1,
        found + (token === shown.tokens[i]),
        copied + (shown.tokens[near[i]] === shown.tokens[i]),
      ];
      const [y, x] = place(i);
      for (let v = 0; v < patch; v += 1)
        filled.set(
          codes.subarray(token * size + 3 * patch * v, token * size + 3 * patch * (v + 1)),
          3 * ((y + v) * side + x),
        );
    }
    words.textContent = number
      ? `${number} of ${count} patches are hidden. The network names the true visual token of ${found}, the nearest visible patch has it for ${copied}.`
      : "Nothing is hidden yet.";
    draw();
  });
  const change = (next) => {
    undone.push(hidden);
    hidden = next;
    draw();
    compute();
  };
  const stroke = (y, x, begins) => {
    const i = Math.floor(y / patch) * cells + Math.floor(x / patch);
    if (begins) {
      undone.push(hidden);
      paints = hidden[i] ? 0 : 1;
    }
    hidden = hidden.slice();
    hidden[i] = paints;
    draw();
    compute();
  };
  LIVE.strokes(left, {
    step: patch,
    stroke,
    move: (y, x, shown) => {
      cursor = shown ? [Math.floor(y / patch), Math.floor(x / patch)] : null;
      draw();
    },
  });
  const atRandom = (share) => {
    const next = new Uint8Array(count);
    const dice = Array.from({ length: count }, () => Math.random());
    const order = [...dice.keys()].sort((a, b) => dice[a] - dice[b]);
    for (const i of order.slice(0, Math.round(share * count))) next[i] = 1;
    change(next);
  };
  const begin = (chosen) => {
    [street, hidden, undone, filled] = [chosen, new Uint8Array(count), [], chosen.pixels];
    const middle = Math.floor(cells / 2);
    for (let y = middle - 1; y < middle + 3; y += 1)
      for (let x = middle - 2; x < middle + 2; x += 1) hidden[y * cells + x] = 1;
    draw();
    return compute();
  };
  const names = streets.map((_, k) => `${k + 1}`);
  made.append(
    row(column("grey: hidden from the network", left.canvas), column("filled in by the network", right.canvas)),
    words,
    row(
      element(
        "span",
        { role: "group", "aria-label": "hide at random" },
        element("b", {}, "hide at random "),
        ...[20, 40, 60, 80].map((share) => button(`${share} %`, () => atRandom(share / 100))),
      ),
      button("uncover all", () => change(new Uint8Array(count))),
      button("undo", () => {
        if (undone.length) {
          hidden = undone.pop();
          compute();
        }
      }),
      button("start again", () => begin(street)),
    ),
    row(choice("street", names, (name) => begin(streets[names.indexOf(name)]))),
    hint(
      "tab to the street, arrow keys choose a patch, space hides or uncovers it, shift + arrow keys go on painting.",
    ),
  );
  await begin(streets[0]);
});
