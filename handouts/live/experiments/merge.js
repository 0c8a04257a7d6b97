// When do two objects become one?

LIVE.experiment("merge", async (root, made) => {
  const { element, button, choice, picture, photo, run, row, column, said, hint } = LIVE;
  const { iou, gridAnchors, proposals, regions, afterNms, queries } = LIVE.boxes;
  const { boxOf, drawn, frame, stage } = LIVE.sprites;
  const data = await LIVE.json("sprites");
  const { side } = data;
  const streets = await LIVE.sprites.streets(data);
  const anchors = gridAnchors(data);
  const pairs = {
    "two cars": ["blue car", "red car"],
    "two people": ["person in green", "person in yellow"],
    "a car and a person": ["red car", "person in yellow"],
  };
  let [street, pair] = [streets[0], "two cars"];
  let [least, threshold] = [0.5, data.head.threshold];
  const STOPS = 11;
  let way = []; // the stops of the object in front on its way to the other, with what the networks gave there
  let answer = null; // {found, said}: what Faster R-CNN and DETR gave

  const left = picture(side, "The boxes of Faster R-CNN: drag an object", { interactive: true });
  const right = picture(side, "The boxes of DETR: drag an object", { interactive: true });
  const words = said();
  const above = (found) => found.filter(({ score }) => score >= least);
  const stops = element("table", { class: "live-table" });
  const scrolled = {
    class: "live-scroll",
    tabindex: 0,
    role: "region",
    "aria-label": "boxes left on the way",
    hidden: true,
  };
  const journey = element("div", scrolled, stops);
  const keys = data.colours.map((colour, label) => LIVE.key(colour, data.classes[label])).slice(1);

  // How many boxes are left at each stop of the way, as far as it has been gone.
  const drawWay = () => {
    const line = (name, cell) =>
      element("tr", {}, element("th", { scope: "row" }, name), ...way.map((stop) => element("td", {}, cell(stop))));
    const count = (of) => (stop) => (stop.found ? `${of(stop)}` : "…");
    stops.replaceChildren(
      line("IoU", ({ overlap, placed }) => button(overlap.toFixed(2), () => moved.go(placed))),
      line(
        "Faster R-CNN",
        count(({ found }) => afterNms(above(found), threshold).length),
      ),
      line(
        "DETR",
        count(({ said: sets }) => above(sets).length),
      ),
    );
    journey.hidden = !way.length;
  };
  const draw = () => {
    const raw = answer ? above(answer.found) : [];
    const kept = afterNms(raw, threshold);
    const sets = answer ? above(answer.said) : [];
    left.paint(street.pixels, (context, unit) => {
      drawn(context, unit, street, moved.placed);
      for (const one of raw) if (!kept.includes(one)) frame(context, unit, one.box, { colour: "#ffffff", width: 1.25 });
      for (const one of kept) named(context, unit, one);
    });
    right.paint(street.pixels, (context, unit) => {
      drawn(context, unit, street, moved.placed);
      for (const one of sets) named(context, unit, one);
    });
    const boxes = moved.placed.map(boxOf);
    words.textContent =
      `The two objects' boxes overlap by an IoU of ${iou(...boxes).toFixed(2)}. ` +
      `Faster R-CNN: ${raw.length} boxes before NMS, ${kept.length} after it. ` +
      `DETR: ${sets.length} of its ${answer ? answer.said.length : "…"} queries.`;
    drawWay();
  };
  const named = (context, unit, { box, label, score }) =>
    frame(context, unit, box, { colour: data.colours[label], width: 4, words: score.toFixed(2) });

  // What both networks say of an image; their shared backbone runs once.
  const ask = async (pixels) => {
    const first = await run("proposals", { image: photo(pixels, side, data) });
    const { features } = first.outputs;
    const given = proposals(first.outputs, anchors, data);
    const filled = { data: new Float32Array(4 * data.rpn.after), dims: [data.rpn.after, 4] };
    filled.data.set(given.flat());
    const head = await run("regions", { features, proposals: filled });
    const detr = await run("detr", { features });
    const found = regions(given, { ...head.outputs, deltas: head.outputs.region_deltas }, data.head.least, data);
    return { found, said: queries(detr.outputs, side), ms: first.ms + head.ms + detr.ms };
  };
  const compute = LIVE.newest(root, async () => {
    const { found, said: sets, ms } = await ask(moved.pixels());
    root.dataset.ms = ms.toFixed(1);
    answer = { found, said: sets };
    draw();
  });
  const moved = stage([left, right], side, () => {
    draw();
    compute();
  });
  // The object in front on its way, pixel by pixel, until it stands before the other; of that the stops, `STOPS` of
  // equally different overlaps.
  const stopsOf = ([other, front]) => {
    const down = other.y + other.sprite.height - front.y - front.sprite.height; // in the end both stand on one ground
    const right = Math.round(other.x + other.sprite.width / 2 - front.x - front.sprite.width / 2);
    const far = Math.max(1, Math.abs(down), Math.abs(right));
    const all = Array.from({ length: far + 1 }, (_, k) => {
      const at = { ...front, y: front.y + Math.round((down * k) / far), x: front.x + Math.round((right * k) / far) };
      return { placed: [other, at], overlap: iou(boxOf(other), boxOf(at)) };
    });
    const [least, most] = [all[0].overlap, all[far].overlap];
    return Array.from({ length: STOPS }, (_, k) => {
      const wanted = least + ((most - least) * k) / (STOPS - 1);
      return all.reduce((a, b) => (Math.abs(b.overlap - wanted) < Math.abs(a.overlap - wanted) ? b : a));
    });
  };
  const goAllTheWay = async () => {
    const mine = stopsOf(moved.placed);
    way = mine;
    drawWay();
    for (const [k, stop] of mine.entries()) {
      const answered = await ask(moved.pixels(stop.placed));
      if (way !== mine) return; // other objects, or another street, meanwhile
      mine[k] = { ...stop, ...answered };
      drawWay();
    }
    root.dataset.way = STOPS;
  };
  const begin = () => {
    const sprites = pairs[pair].map((name) => street.sprites.find((one) => one.name === name && one.size === "large"));
    const beside = [Math.round(side * 0.3), Math.round(side * 0.72)];
    [answer, way] = [null, []];
    delete root.dataset.way;
    moved.put(
      street,
      sprites.map((sprite, k) => ({ sprite, y: sprite.y, x: Math.round(beside[k] - sprite.width / 2) })),
    );
    return compute();
  };
  const slider = (label, start, act) => {
    const shown = element("output", {}, start.toFixed(2));
    const input = element("input", {
      type: "range",
      min: 0.05,
      max: 0.95,
      step: 0.05,
      value: start,
      "aria-label": label,
      oninput: () => {
        shown.textContent = Number(input.value).toFixed(2);
        act(Number(input.value));
        draw();
      },
    });
    return element("label", {}, element("b", {}, `${label} `), input, " ", shown);
  };
  const names = streets.map(({ name }) => name);
  made.append(
    row(column("Faster R-CNN; white: NMS removed it", left.canvas), column("DETR: without NMS", right.canvas)),
    element("div", { class: "live-keys" }, ...keys),
    words,
    journey,
    row(
      slider("NMS threshold", threshold, (value) => (threshold = value)),
      slider("score threshold of both", least, (value) => (least = value)),
    ),
    row(
      choice("objects", Object.keys(pairs), (value) => {
        pair = value;
        begin();
      }),
      choice("street", names, (name) => {
        street = streets[names.indexOf(name)];
        begin();
      }),
      button("count boxes all the way", goAllTheWay),
      button("undo", moved.undo),
      button("start again", begin),
    ),
    hint("tab to a street, arrow keys move the object that was last dragged by 1 pixel, with shift by 8."),
  );
  made.classList.add("live-wide");
  await begin();
});
