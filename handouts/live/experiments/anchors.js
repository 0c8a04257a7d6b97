// When does an anchor become positive?

LIVE.experiment("anchors", async (root, made) => {
  const { element, button, choice, picture, photo, run, row, column, said, hint } = LIVE;
  const { iou, gridAnchors, labelled, decode, sigmoid } = LIVE.boxes;
  const { boxOf, drawn, frame, drags, stage } = LIVE.sprites;
  const data = await LIVE.json("sprites");
  const { side, grid, stride, base } = data;
  const streets = await LIVE.sprites.streets(data);
  const anchors = gridAnchors(data);
  const count = base.length;
  const colours = { positive: "#0072b2", ignored: "#f0e442", negative: "#d55e00" };
  const [sure, unlike] = ["#ff8fd0", "rgba(255, 255, 255, 0.6)"]; // of a point with an objectness of 0.5, and of others
  const dashes = { positive: [], ignored: [7, 4], negative: [2, 3] };
  let [street, kind, size, bestMatch] = [streets[0], "car", "large", true];
  let [point, chosen] = [[0, 0], 0]; // row and column of the map, number of the anchor there
  let answer = null; // {placed, scores, boxes}: the newest prediction, and what it was made for

  const left = picture(side, "The street with the object and the anchors of one point: drag the object", {
    interactive: true,
  });
  const right = picture(side, "The same street with the boxes predicted from these anchors: choose a point", {
    interactive: true,
  });
  const [words, lines] = [said(), element("tbody")];

  const rule = () => {
    const object = boxOf(moved.placed[0]);
    const overlaps = anchors.map((anchor) => iou(anchor, object));
    return { object, overlaps, labels: labelled(overlaps, { ...data.rule, bestMatch }) };
  };
  const first = () => count * (point[0] * grid + point[1]);
  const here = () => Array.from({ length: count }, (_, k) => first() + k);

  // A dot for each point of the map, in the colour and size that `look(i)` gives for its first anchor.
  const dots = (context, unit, look) => {
    for (let i = 0; i < anchors.length; i += count) {
      const { colour, radius } = look(i);
      const [x, y] = [(i / count) % grid, Math.floor(i / count / grid)].map((p) => p * stride * unit);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = colour;
      context.fill();
    }
  };
  const marked = (context, unit) => {
    const [y, x] = point.map((p) => p * stride * unit);
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.lineWidth = 3;
    context.strokeStyle = "#ffffff";
    context.stroke();
    context.lineWidth = 1.5;
    context.strokeStyle = "#000000";
    context.stroke();
  };
  const drawRule = ({ object, labels }) =>
    left.paint(street.pixels, (context, unit) => {
      drawn(context, unit, street, moved.placed);
      dots(context, unit, (i) => {
        const there = ["positive", "ignored"].find((label) => labels.slice(i, i + count).includes(label));
        return { colour: there ? colours[there] : unlike, radius: there ? 4 : 1.5 };
      });
      for (const i of here()) {
        const look = { colour: colours[labels[i]], dash: dashes[labels[i]] };
        frame(context, unit, anchors[i], { ...look, width: i === first() + chosen ? 4 : 1.5 });
      }
      frame(context, unit, object, { colour: "#ffffff", width: 2 });
      marked(context, unit);
    });
  const drawPrediction = () => {
    if (!answer) return;
    right.paint(street.pixels, (context, unit) => {
      drawn(context, unit, street, answer.placed);
      dots(context, unit, (i) => {
        const most = Math.max(...answer.scores.slice(i, i + count));
        return most >= 0.5 ? { colour: sure, radius: 4 } : { colour: unlike, radius: 1.5 };
      });
      for (const i of here()) {
        context.globalAlpha = Math.max(0.3, answer.scores[i]);
        if (i !== first() + chosen) frame(context, unit, answer.boxes[i], { colour: sure, width: 1.5 });
      }
      context.globalAlpha = 1;
      frame(context, unit, anchors[first() + chosen], { colour: "#ffffff", width: 1.5, dash: [4, 4] });
      frame(context, unit, answer.boxes[first() + chosen], { colour: sure, width: 4 });
      marked(context, unit);
    });
  };
  const line = (i, k, { object, overlaps, labels }) => {
    const [x0, y0, x1, y1] = base[k];
    const shape = `${x1 - x0} × ${y1 - y0}`;
    const radio = element("input", {
      type: "radio",
      name: "live-anchor",
      checked: k === chosen,
      "aria-label": `anchor of ${shape} pixels`,
      onchange: () => {
        chosen = k;
        draw();
      },
    });
    const score = answer?.scores[i];
    return element(
      "tr",
      k === chosen ? { class: "live-chosen" } : {},
      element("td", {}, element("label", {}, radio, ` ${shape}`)),
      element("td", {}, overlaps[i].toFixed(2)),
      element("td", {}, element("i", { style: `background: ${colours[labels[i]]}` }), labels[i]),
      element("td", {}, answer ? score.toFixed(2) : "…"),
      element("td", {}, answer ? iou(answer.boxes[i], object).toFixed(2) : "…"),
    );
  };
  const drawTable = (ruled) => {
    const focused = lines.contains(document.activeElement);
    lines.replaceChildren(...here().map((i, k) => line(i, k, ruled)));
    if (focused) lines.children[chosen].querySelector("input").focus();
  };
  const sayWhat = ({ overlaps, labels }) => {
    const number = (label) => labels.filter((one) => one === label).length;
    const reached = overlaps.filter((overlap) => overlap >= data.rule.high).length;
    const likely = answer ? [...labels.keys()].filter((i) => answer.scores[i] >= 0.5) : [];
    const both = likely.filter((i) => labels[i] === "positive").length;
    const line = (text) => element("span", { class: "live-line" }, text);
    words.replaceChildren(
      line(
        `Rule: ${number("positive")} of ${anchors.length.toLocaleString("en")} anchors positive, ${reached} of them ` +
          `by an IoU of ${data.rule.high} or more (the best is ${Math.max(...overlaps).toFixed(2)}); ` +
          `${number("ignored")} ignored, all others negative.`,
      ),
      line(
        answer
          ? `Prediction: ${likely.length} anchors with an objectness of 0.5 or more; the rule calls ${both} of them positive.`
          : "Prediction: …",
      ),
    );
  };
  const draw = () => {
    const ruled = rule();
    drawRule(ruled);
    drawPrediction();
    drawTable(ruled);
    sayWhat(ruled);
  };
  const compute = LIVE.newest(root, async () => {
    const { placed } = moved;
    const { outputs, ms } = await run("proposals", { image: photo(moved.pixels(), side, data) });
    root.dataset.ms = ms.toFixed(1);
    const { objectness, deltas } = outputs;
    const boxes = anchors.map((anchor, i) => decode(deltas.data.subarray(4 * i, 4 * i + 4), anchor));
    answer = { placed, boxes, scores: Array.from(objectness.data, sigmoid) };
    draw();
  });
  const moved = stage([left], side, () => {
    draw();
    compute();
  });
  const choose = (y, x) => {
    point = [y, x].map((p) => Math.max(0, Math.min(grid - 1, Math.round(p / stride))));
    draw();
  };
  const goTo = (values) => {
    const i = values.indexOf(Math.max(...values));
    chosen = i % count;
    point = [Math.floor(i / count / grid), Math.floor(i / count) % grid];
    draw();
  };
  // A click beside the object chooses a point, on either picture.
  left.canvas.addEventListener("pointerdown", (event) => {
    const place = left.at(event);
    if (!moved.grab(...place)) choose(...place);
  });
  const by = (down, right) => choose(...point.map((p, k) => p * stride + [down, right][k]));
  drags(right, {
    step: stride,
    leap: 4 * stride,
    grab: (y, x) => {
      choose(y, x);
      return false;
    },
    by,
  });
  const begin = () => {
    const sprite = street.sprites.find((one) => one.kind === kind && one.size === size);
    answer = null;
    moved.put(street, [{ sprite, y: sprite.y, x: sprite.x }]);
    goTo(rule().overlaps);
    return compute();
  };
  const heading = (text, columns) => element("th", { colspan: columns, scope: "colgroup" }, text);
  const titles = ["anchor", "IoU", "label", "objectness", "decoded IoU"];
  const names = streets.map(({ name }) => name);
  const box = element("input", {
    type: "checkbox",
    checked: true,
    onchange: () => {
      bestMatch = box.checked;
      draw();
    },
  });
  made.append(
    row(
      column(
        "Rule: labels of nine anchors; white: the object",
        left.canvas,
        element(
          "div",
          { class: "live-keys" },
          ...Object.entries(colours).map(([label, colour]) => LIVE.key(colour, label)),
        ),
      ),
      column(
        "Prediction: what the deltas make of them",
        right.canvas,
        element("div", { class: "live-keys" }, LIVE.key(sure, "decoded boxes; dots: objectness of 0.5")),
      ),
    ),
    row(
      element(
        "table",
        { class: "live-table", "aria-label": "the anchors of the chosen point" },
        element("thead", {}, element("tr", {}, heading("", 1), heading("rule", 2), heading("prediction", 2))),
        element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)))),
        lines,
      ),
      element("div", { class: "live-beside" }, words),
    ),
    row(
      choice("object", ["car", "person"], (value) => {
        kind = value;
        begin();
      }),
      choice(
        "size",
        data.sizes,
        (value) => {
          size = value;
          begin();
        },
        size,
      ),
      choice("street", names, (name) => {
        street = streets[names.indexOf(name)];
        begin();
      }),
    ),
    row(
      element("label", {}, box, " best-match rule (allow_low_quality_matches)"),
      button("anchor with the best IoU", () => goTo(rule().overlaps)),
      button("anchor with the highest objectness", () => answer && goTo(answer.scores)),
      button("undo", moved.undo),
      button("start again", begin),
    ),
    hint(
      "tab to the left street, arrow keys move the object by 1 pixel, with shift by 8; on the right street they choose a point of the map.",
    ),
  );
  made.classList.add("live-wide");
  await begin();
});
