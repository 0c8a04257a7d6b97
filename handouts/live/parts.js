// What several experiments show or count; it is added to `LIVE`.

(() => {
  const { element } = LIVE;
  const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`;
  const row = (...children) => element("div", { class: "live-row" }, ...children);
  const column = (title, ...children) =>
    element("div", { class: "live-column" }, element("div", {}, title), ...children);
  const said = () => element("p", { class: "live-said", role: "status", "aria-live": "polite" });
  const decoded = (street) => ({
    pixels: LIVE.bytesOf(street.pixels),
    labels: street.labels && LIVE.bytesOf(street.labels),
  });

  const argmax = ({ data, dims }) => {
    // (1, classes, h, w) → the number of the likeliest class of each pixel
    const [, classes, h, w] = dims;
    const best = new Uint8Array(h * w);
    for (let i = 0; i < h * w; i += 1) {
      let top = -1;
      for (let c = 0; c < classes; c += 1) if (data[c * h * w + i] > top) [top, best[i]] = [data[c * h * w + i], c];
    }
    return best;
  };
  const coloured = (labels, palette) => {
    const pixels = new Uint8Array(3 * labels.length);
    for (const [i, label] of labels.entries()) pixels.set(palette[label] ?? [0, 0, 0], 3 * i);
    return pixels;
  };
  const legend = (data, labels) => {
    const there = [...new Set(labels)].filter((label) => data.classes[label]).sort((a, b) => a - b);
    return there.map((label) =>
      element(
        "span",
        { class: "live-key" },
        element("i", { style: `background: rgb(${data.palette[label].join(" ")})` }),
        data.classes[label],
      ),
    );
  };

  Object.assign(LIVE, { percent, row, column, said, decoded, argmax, coloured, legend });
})();
