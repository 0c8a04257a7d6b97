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

  // A copy of an image in which a square around (y, x) has other colours; `colour(i)` gives those of the byte i.
  const stamped = (pixels, side, [y, x], width, colour) => {
    const [copy, half] = [pixels.slice(), Math.floor(width / 2)];
    for (let v = Math.max(0, y - half); v <= Math.min(side - 1, y + half); v += 1)
      for (let u = Math.max(0, x - half); u <= Math.min(side - 1, x + half); u += 1) {
        const i = 3 * (v * side + u);
        copy.set(colour(i), i);
      }
    return copy;
  };
  const hint = (text) => element("p", { class: "live-hint" }, `Keyboard: ${text}`);

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
  const key = (colour, text) =>
    element("span", { class: "live-key" }, element("i", { style: `background: ${colour}` }), text);
  const legend = (data, labels) => {
    const there = [...new Set(labels)].filter((label) => data.classes[label]).sort((a, b) => a - b);
    return there.map((label) => key(`rgb(${data.palette[label].join(" ")})`, data.classes[label]));
  };

  Object.assign(LIVE, { percent, row, column, said, hint, stamped, decoded, argmax, coloured, key, legend });
})();
