// What do skip connections carry?

LIVE.experiment("skips", async (root, made) => {
  const {
    element,
    button,
    choice,
    picture,
    photo,
    run,
    percent,
    row,
    column,
    said,
    argmax,
    coloured,
    decoded,
    legend,
  } = LIVE;
  const data = await LIVE.json("streets");
  const { side } = data;
  const streets = data.streets.map(decoded);
  let street = streets[0];
  const gates = new Float32Array(4).fill(1);
  const shown = {
    truth: picture(side, "The true labels"),
    unet: picture(side, "The label map of the U-Net with these skip connections"),
    twin: picture(side, "The label map of the U-Net trained without skip connections"),
  };
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
    const [unet, twin] = [
      await run("unet", { image, gates: { data: gates.slice(), dims: [4] } }),
      await run("unet_without_skips", { image }),
    ];
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
    const box = element("input", {
      type: "checkbox",
      checked: true,
      onchange: () => {
        gates[level] = Number(box.checked);
        compute();
      },
    });
    return element("label", {}, box, ` ${size} × ${size}`);
  });
  const all = (on) => {
    gates.fill(Number(on));
    for (const label of switches) label.firstChild.checked = on;
    compute();
  };
  made.append(
    row(
      column("true labels", shown.truth.canvas),
      column("U-Net", shown.unet.canvas),
      column("its twin, trained without skip connections", shown.twin.canvas),
    ),
    keys,
    words,
    row(
      element(
        "span",
        { role: "group", "aria-label": "skip connections" },
        element("b", {}, "skip connections "),
        ...switches,
      ),
      button("all on", () => all(true)),
      button("all off", () => all(false)),
    ),
    row(
      choice("street", names, (name) => {
        street = streets[names.indexOf(name)];
        compute();
      }),
    ),
  );
  await compute();
});
