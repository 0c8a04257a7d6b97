// Does the U-Net see the object or its surroundings?

LIVE.experiment("paint", async (root, made) => {
  const {
    element,
    button,
    choice,
    picture,
    photo,
    run,
    row,
    column,
    said,
    argmax,
    coloured,
    decoded,
    legend,
    stamped,
    hint,
  } = LIVE;
  const data = await LIVE.json("streets");
  const { side } = data;
  const streets = data.streets.map(decoded);
  let [street, brush, width] = [streets[0], "grey", 7];
  let pixels = street.pixels.slice();
  let undone = [];
  let first = null; // the label map of the street as it was
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
    const labels = argmax(outputs.probabilities);
    root.dataset.ms = ms.toFixed(1);
    first ??= labels;
    const changed = (i) => labels[i] !== first[i];
    right.paint(coloured(labels, data.palette), (context, unit) =>
      LIVE.outline(context, unit, side, (y, x) => changed(y * side + x), "#ffffff"),
    );
    let [under, beside, area] = [0, 0, 0];
    for (let i = 0; i < side * side; i += 1) {
      area += painted(i);
      if (changed(i) && painted(i)) under += 1;
      else if (changed(i)) beside += 1;
    }
    words.textContent = area
      ? `You painted ${area} of ${side * side} pixels. The label changed at ${under} of them, and at ${beside} that you did not touch.`
      : "Nothing is painted yet.";
    keys.replaceChildren(...legend(data, labels));
  });
  const stroke = (y, x, begins) => {
    if (begins) undone.push(pixels);
    const other = streets[(streets.indexOf(street) + 1) % streets.length];
    const colours = {
      grey: () => [128, 128, 128],
      "the next street": (i) => other.pixels.subarray(i, i + 3),
      "as it was": (i) => street.pixels.subarray(i, i + 3),
    };
    pixels = stamped(pixels, side, [y, x], width, colours[brush]);
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
  LIVE.strokes(left, {
    step: 3,
    stroke,
    move: (y, x, shown) => {
      cursor = shown ? [y, x] : null;
      draw();
    },
  });
  const undo = () => {
    if (!undone.length) return;
    pixels = undone.pop();
    draw();
    compute();
  };
  const names = data.streets.map((_, k) => `${k + 1}`);
  made.append(
    row(
      column("the network's input: paint here", left.canvas),
      column("its label map; white: changed by your paint", right.canvas, keys),
    ),
    words,
    row(
      choice("street", names, (name) => begin(streets[names.indexOf(name)])),
      LIVE.filePicker(side, (own) => begin({ pixels: own })),
    ),
    row(
      choice("brush", ["grey", "the next street", "as it was"], (value) => (brush = value)),
      choice("width", ["3", "7", "15"], (value) => (width = Number(value)), "7"),
      button("undo", undo),
      button("start again", () => begin(street)),
    ),
    hint("tab to the street, arrow keys move the brush, space paints, shift + arrow keys draw a line."),
  );
  await begin(streets[0]);
});
