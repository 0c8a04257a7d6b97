// Which pixels made this word?

LIVE.experiment("caption", async (root, made) => {
  const { element, button, choice, picture, photo, run, row, column, said, bytesOf, stamped, hint } = LIVE;
  const data = await LIVE.json("views");
  const { side, words: vocabulary, start, end } = data;
  const [rows, columns] = data.grid;
  const most = 40; // words of a caption
  const streets = data.streets.map((street) => bytesOf(street.pixels));
  const grey = data.mean.map((value) => Math.round(255 * value));
  let [street, width] = [streets[0], 9];
  let pixels = street.slice();
  let undone = [];
  let first = null; // what was said of the street as it was: [{word, probability, attention}, …]
  let now = null;
  let forced = null; // the first caption's words again, with their probabilities for the image as it is
  let chosen = 0;
  let cursor = null;

  const left = picture(side, "The street; erase parts of it", { interactive: true });
  const right = picture(side, "Where the captioner attended for the chosen word");
  const [words, sentence, old] = [
    said(),
    element("p", { class: "live-words", role: "group", "aria-label": "words of the caption" }),
    element("p", { class: "live-words" }),
  ];

  // Greedy, or along given words: each time the state and the last word give the next word's probabilities.
  const speak = async (image, given = null) => {
    const maps = await run("proposals", { image: photo(image, side, data) });
    const { early, features } = maps.outputs;
    const begun = await run("caption_start", { early, features });
    const { points, prepared } = begun.outputs;
    let { h, cell } = begun.outputs;
    let ms = maps.ms + begun.ms;
    let last = start;
    const caption = [];
    for (let place = 0; place < (given?.length ?? most); place += 1) {
      const word = { data: Float32Array.of(last), dims: [1] };
      const answer = await run("caption_step", { points, prepared, h, cell, word });
      ms += answer.ms;
      const { probabilities, attention, next_h, next_cell } = answer.outputs;
      [h, cell] = [next_h, next_cell];
      // As the course's decoding: <pad>, <start> and <unknown> are never said.
      const likely = probabilities.data.map((value, k) => (k === 0 || k === 1 || k === 3 ? -1 : value));
      last = given ? given[place].word : likely.indexOf(Math.max(...likely));
      caption.push({ word: last, probability: probabilities.data[last], attention: attention.data });
      if (last === end) break;
    }
    root.dataset.ms = ms.toFixed(1);
    return caption;
  };

  const draw = () => {
    left.paint(pixels, (context, unit) => {
      if (!cursor) return;
      const [y, x] = cursor.map((p) => (p - Math.floor(width / 2)) * unit);
      context.strokeStyle = "#e69f00";
      context.lineWidth = 3;
      context.strokeRect(x, y, width * unit, width * unit);
    });
    if (!now) return;
    chosen = Math.min(chosen, now.length - 1);
    const map = now[chosen].attention;
    const peak = Math.max(...map);
    right.paint(pixels, (context, unit) => {
      const [tall, wide] = [(side / rows) * unit, (side / columns) * unit];
      for (let i = 0; i < rows * columns; i += 1) {
        context.fillStyle = `rgba(0, 0, 30, ${0.75 * (1 - map[i] / peak)})`;
        context.fillRect((i % columns) * wide, Math.floor(i / columns) * tall, wide, tall);
      }
    });
    for (const [k, one] of [...sentence.children].entries()) one.setAttribute("aria-pressed", k === chosen);
    words.textContent = `“${vocabulary[now[chosen].word]}” had probability ${now[chosen].probability.toFixed(2)}; the brightest point has ${peak.toFixed(2)} of the attention.`;
  };
  const compute = LIVE.newest(root, async () => {
    const asked = pixels;
    now = await speak(asked);
    if (!first) {
      const peaks = now.map(({ attention }) => Math.max(...attention));
      chosen = peaks.indexOf(Math.max(...peaks)); // the word with the sharpest look
      first = now;
    }
    forced = asked === street ? null : await speak(asked, first);
    sentence.replaceChildren(
      ...now.map(({ word }, k) =>
        button(vocabulary[word], () => {
          chosen = k;
          draw();
        }),
      ),
    );
    old.replaceChildren(
      ...(forced
        ? [element("b", {}, "the caption of before, its words' probabilities before and now: ")].concat(
            first.map(({ word, probability }, k) => {
              const after = forced[k].probability;
              const name = Math.abs(after - probability) > 0.1 ? "mark" : "span";
              return element(name, {}, `${vocabulary[word]} ${probability.toFixed(2)} → ${after.toFixed(2)}  `);
            }),
          )
        : []),
    );
    draw();
  });
  const stroke = (y, x, begins) => {
    if (begins) undone.push(pixels);
    pixels = stamped(pixels, side, [y, x], width, () => grey);
    cursor = [y, x];
    draw();
    compute();
  };
  const begin = (image) => {
    [street, pixels, undone, first, now, chosen] = [image, image, [], null, null, 0];
    draw();
    return compute();
  };
  LIVE.strokes(left, {
    step: 4,
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
  const names = streets.map((_, k) => `${k + 1}`);
  made.append(
    row(column("erase here", left.canvas), column("where it attended: bright", right.canvas)),
    sentence,
    words,
    old,
    row(
      choice("street", names, (name) => begin(streets[names.indexOf(name)])),
      LIVE.filePicker(side, (own) => begin(own)),
    ),
    row(
      choice(
        "eraser",
        ["5", "9", "21"],
        (value) => {
          width = Number(value);
        },
        "9",
      ),
      button("undo", undo),
      button("start again", () => begin(street)),
    ),
    hint(
      "tab to a word and press space to see its map; tab to the street, arrow keys move the eraser, space erases, shift + arrow keys go on erasing.",
    ),
  );
  await begin(streets[0]);
});
