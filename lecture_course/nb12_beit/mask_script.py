"""The script of `mask_pad`: BEiT's forward pass in JavaScript, and what a reader paints (slide 34)."""

# The forward pass: `fill(pixels, mask)` gives for every patch the probabilities of all visual tokens.
NETWORK = """
  const unpack = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const halves = bytes => {  // half precision as numbers; not all browsers know it
    const words = new Uint16Array(bytes.buffer), numbers = new Float32Array(words.length);
    words.forEach((word, i) => {
      const sign = word >> 15 ? -1 : 1, exponent = word >> 10 & 31, fraction = word & 1023;
      numbers[i] = sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
    });
    return numbers;
  };
  const whole = new Int8Array(unpack(data.bytes).buffer), fine = halves(unpack(data.halves));
  const all = new Float32Array(data.parts.reduce((sum, [rows, columns]) => sum + Math.max(1, rows) * columns, 0));
  let [to, ofWhole, ofFine] = [0, 0, 0];
  for (const [rows, columns] of data.parts) {
    if (!rows) for (let k = 0; k < columns; k++) all[to++] = fine[ofFine++];
    for (let row = 0; row < rows; row++, ofFine++)
      for (let k = 0; k < columns; k++) all[to++] = whole[ofWhole++] * fine[ofFine];
  }
  const {dim, heads, depth, vocabulary, patch} = data, [rows, columns] = data.grid;
  const patches = rows * columns, n = 1 + patches, size = 3 * patch * patch, steps = (2 * rows - 1) * (2 * columns - 1);
  let taken = 0;
  const take = count => all.subarray(taken, taken += count);
  const layer = (inputs, outputs, bias = true) => [take(inputs * outputs), bias ? take(outputs) : null];
  const norm = () => [take(dim), take(dim)];
  const embed = layer(size, dim), classToken = take(dim), maskToken = take(dim);
  const blocks = [...Array(depth)].map(() => ({
    normSelf: norm(), query: layer(dim, dim), key: layer(dim, dim, false), value: layer(dim, dim),
    out: layer(dim, dim), table: take((steps + 3) * heads), scaleSelf: take(dim),
    normMlp: norm(), first: layer(dim, data.mlp), second: layer(data.mlp, dim), scaleMlp: take(dim),
  }));
  const normLast = norm(), predict = layer(dim, vocabulary);
  const linear = (x, [weight, bias]) => {  // rows of x, each to a row as long as the layer has outputs
    const inputs = x.width, outputs = weight.length / inputs, count = x.length / inputs;
    const y = new Float32Array(count * outputs);
    for (let i = 0; i < count; i++) for (let o = 0; o < outputs; o++) {
      let sum = bias ? bias[o] : 0;
      for (let k = 0, a = i * inputs, b = o * inputs; k < inputs; k++) sum += x[a + k] * weight[b + k];
      y[i * outputs + o] = sum;
    }
    y.width = outputs;
    return y;
  };
  const normalise = (x, [weight, bias]) => {
    const y = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += dim) {
      let mean = 0, variance = 0;
      for (let k = 0; k < dim; k++) mean += x[at + k] / dim;
      for (let k = 0; k < dim; k++) variance += (x[at + k] - mean) ** 2 / dim;
      const scale = 1 / Math.sqrt(variance + 1e-6);
      for (let k = 0; k < dim; k++) y[at + k] = (x[at + k] - mean) * scale * weight[k] + bias[k];
    }
    y.width = dim;
    return y;
  };
  const softmax = (values, start, count) => {
    let most = -Infinity, sum = 0;
    for (let k = start; k < start + count; k++) most = Math.max(most, values[k]);
    for (let k = start; k < start + count; k++) sum += values[k] = Math.exp(values[k] - most);
    for (let k = start; k < start + count; k++) values[k] /= sum;
  };
  const erf = x => {  // Abramowitz and Stegun, 7.1.26: 1.5e-7
    const t = 1 / (1 + 0.3275911 * Math.abs(x));
    const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    return Math.sign(x) * (1 - series * Math.exp(-x * x));
  };
  const entry = (i, j) => {  // the row of the relative position table for token i attending to token j
    if (!i || !j) return steps + (i ? 1 : j ? 0 : 2);
    const down = Math.floor((i - 1) / columns) - Math.floor((j - 1) / columns) + rows - 1;
    return down * (2 * columns - 1) + (i - 1) % columns - (j - 1) % columns + columns - 1;
  };
  const entries = Uint16Array.from({length: n * n}, (_, at) => entry(Math.floor(at / n), at % n));
  const attend = (x, block) => {
    const [q, k, v] = [block.query, block.key, block.value].map(each => linear(x, each));
    const mixed = new Float32Array(n * dim), d = dim / heads, weights = new Float32Array(n);
    mixed.width = dim;
    for (let head = 0; head < heads; head++) for (let i = 0; i < n; i++) {
      const a = i * dim + head * d;
      for (let j = 0; j < n; j++) {
        let score = 0;
        for (let c = 0, b = j * dim + head * d; c < d; c++) score += q[a + c] * k[b + c];
        weights[j] = score / Math.sqrt(d) + block.table[entries[i * n + j] * heads + head];
      }
      softmax(weights, 0, n);
      for (let j = 0; j < n; j++)
        for (let c = 0, b = j * dim + head * d; c < d; c++) mixed[a + c] += weights[j] * v[b + c];
    }
    return linear(mixed, block.out);
  };
  const add = (x, more, scale) => more.forEach((value, i) => { x[i] += scale[i % dim] * value; });
  const tokensOf = pixels => {  // the patches of a street as tokens, before any of them is hidden
    const cut = new Float32Array(patches * size), [height, width] = [rows * patch, columns * patch];
    let to = 0;
    for (let p = 0; p < patches; p++) for (let c = 0; c < 3; c++)
      for (let y = 0; y < patch; y++) for (let x = 0; x < patch; x++) {
        const [row, column] = [Math.floor(p / columns) * patch + y, p % columns * patch + x];
        cut[to++] = (pixels[(c * height + row) * width + column] / 255 - data.mean[c]) / data.std[c];
      }
    cut.width = size;
    return linear(cut, embed);
  };
  const fill = (tokens, mask) => {
    const x = new Float32Array(n * dim);
    x.set(classToken);
    for (let p = 0; p < patches; p++)
      x.set(mask[p] ? maskToken : tokens.subarray(p * dim, (p + 1) * dim), (p + 1) * dim);
    for (const block of blocks) {
      add(x, attend(normalise(x, block.normSelf), block), block.scaleSelf);
      const inner = linear(normalise(x, block.normMlp), block.first);
      inner.forEach((value, i) => { inner[i] = value * (1 + erf(value / Math.SQRT2)) / 2; });
      add(x, linear(inner, block.second), block.scaleMlp);
    }
    const last = normalise(x.subarray(dim), normLast), likely = linear(last, predict);
    for (let p = 0; p < patches; p++) softmax(likely, p * vocabulary, vocabulary);
    return likely;
  };
"""

PAINTING = """
  const form = figure.querySelector("form"), codes = unpack(data.codes), views = VIEWS;
  const chosen = name => Number((form.querySelector(`input[name="${name}"]:checked`) || {value: 0}).value);
  const streets = data.streets.map(street => ({...street, pixels: unpack(street.pixels)}));
  const photo = figure.querySelector("img");
  streets[0].shown = photo.src;
  let mask = [...data.mask], before = [], cursor = data.cursor, stroke = null, due = null, drawn = 0, likely = null;
  const best = p => {
    let at = p * vocabulary;
    for (let k = p * vocabulary; k < (p + 1) * vocabulary; k++) if (likely[k] > likely[at]) at = k;
    return at % vocabulary;
  };
  const nearest = p => {  // the nearest visible patch, the first of several; with none the first patch
    let found = 0, least = Infinity;
    for (let k = 0; k < patches; k++) {
      const far = (Math.floor(k / columns) - Math.floor(p / columns)) ** 2 + (k % columns - p % columns) ** 2;
      if (!mask[k] && far < least) [found, least] = [k, far];
    }
    return found;
  };
  const canvas = (height, width, colour) => {  // an image whose pixels a function gives, as an address
    const sheet = Object.assign(document.createElement("canvas"), {height, width}), context = sheet.getContext("2d");
    const image = context.createImageData(width, height);
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
      image.data.set([...colour(y, x), 255], 4 * (y * width + x));
    context.putImageData(image, 0, 0);
    return sheet.toDataURL();
  };
  const code = (word, y, x) => codes.subarray((word * patch * patch + y * patch + x) * 3).subarray(0, 3);
  const cells = () => {
    const [a, b] = [W / columns, H / rows];
    let cover = "";
    mask.forEach((hidden, p) => {
      if (!hidden) return;
      const [x, y] = [p % columns * a, Math.floor(p / columns) * b];
      cover += `M${x} ${y}h${a}v${b}h${-a}z`;
    });
    set(part("cover"), {d: cover});
  };
  const guesses = () => {
    const at = Math.floor(cursor / columns), across = cursor % columns, list = part("guesses");
    place(part("cursor"), [across * W / columns, at * H / rows, (across + 1) * W / columns, (at + 1) * H / rows]);
    const truth = streets[chosen("street")].truth[cursor];
    const order = [...Array(vocabulary).keys()].sort((a, b) =>
      likely[cursor * vocabulary + b] - likely[cursor * vocabulary + a]).slice(0, data.most);
    say("where", `row ${at + 1}, column ${across + 1}, ` +
      `${mask[cursor] ? "hidden" : "visible, so training never asked"}: the likeliest visual tokens, and the true one`);
    const swatch = (word, words, style = "") => `<span style="display: inline-block; margin: 0.4em 0.2em 0 0; ` +
      `min-width: 3.9em; text-align: center; line-height: 1.2"><img alt="visual token ${word}" style="` +
      `width: 40px; height: 40px; display: block; margin: 0 auto 0.5em; image-rendering: pixelated; ` +
      `outline-offset: 1px; ${style}" src="${canvas(patch, patch, (y, x) => code(word, y, x))}">${words}</span>`;
    const ring = "outline: 3px solid GREEN";
    list.innerHTML = order.map(word => swatch(word, `${text(100 * likely[cursor * vocabulary + word], 1, 1)} %`,
      word === truth ? ring : "")).join("") + "<span style='display: inline-block; width: 1em'></span>" +
      swatch(truth, "true", ring);
    set(svg, {"aria-label": `a grid of ${rows} × ${columns} patches: row ${at + 1}, column ${across + 1}, ` +
      (mask[cursor] ? "hidden" : "visible")});
  };
  const show = () => {  // computes all anew
    clearTimeout(due);
    const street = streets[chosen("street")], view = chosen("right image"), words = [];
    street.tokens = street.tokens || tokensOf(street.pixels);
    likely = fill(street.tokens, mask);
    for (let p = 0; p < patches; p++) words.push(best(p));
    const [height, width] = [rows * patch, columns * patch];
    set(part("filled"), {src: canvas(height, width, (y, x) => {
      const p = Math.floor(y / patch) * columns + Math.floor(x / patch);
      if (view < 2 && (view || mask[p])) return code((view ? street.truth : words)[p], y % patch, x % patch);
      return [0, 1, 2].map(c => street.pixels[(c * height + y) * width + x]);
    }), alt: `The street, ${views[view]}.`});
    const hidden = mask.map((one, p) => one ? p : -1).filter(p => p >= 0), number = hidden.length;
    const count = right => hidden.filter(right).length;
    const share = part => number ? ` (${text(100 * part / number)} %)` : "";
    const [found, near] = [count(p => words[p] === street.truth[p]),
      count(p => street.truth[nearest(p)] === street.truth[p])];
    const sentence = `${number} of ${patches} patches hidden, ${found} visual tokens found${share(found)}, ` +
      `${near} by the nearest visible patch${share(near)}`;
    say("said", sentence);
    say("view", views[view]);
    cells();
    guesses();
    announce(`${data.names[chosen("street")]}: ${sentence}`);
    figure.dataset.drawn = ++drawn;
  };
  const soon = () => {  // the mask at once, the network when the hand leaves it time
    cells();
    clearTimeout(due);
    due = setTimeout(show, 20);
  };
  const keep = () => { before = [...before.slice(-99), [...mask]]; };
  const paint = (p, value) => {
    const wide = chosen("brush"), [row, column] = [Math.floor(p / columns), p % columns];
    for (let y = row - wide; y <= row + wide; y++) for (let x = column - wide; x <= column + wide; x++)
      if (y >= 0 && y < rows && x >= 0 && x < columns) mask[y * columns + x] = value;
  };
  const under = ([x, y]) =>
    clip(Math.floor(y * rows / H), 0, rows - 1) * columns + clip(Math.floor(x * columns / W), 0, columns - 1);
  svg.addEventListener("pointerdown", event => {
    if (event.button) return;
    keep();
    cursor = under(at(event));
    stroke = {value: mask[cursor] ? 0 : 1, from: at(event)};
    paint(cursor, stroke.value);
    svg.setPointerCapture(event.pointerId);
    soon();
  });
  svg.addEventListener("pointermove", event => {
    if (!stroke) return;
    const [x, y] = at(event), [u, v] = stroke.from, far = Math.ceil(Math.hypot(x - u, y - v) * rows / H * 2) || 1;
    for (let k = 1; k <= far; k++) paint(under([u + (x - u) * k / far, v + (y - v) * k / far]), stroke.value);
    Object.assign(stroke, {from: [x, y]});
    cursor = under([x, y]);
    cells();
  });
  for (const end of ["pointerup", "pointercancel"])
    svg.addEventListener(end, () => { if (stroke) soon(); stroke = null; });
  svg.addEventListener("touchstart", event => event.preventDefault(), {passive: false});  // no scrolling
  svg.addEventListener("keydown", event => {
    const by = arrow(event);
    if (by) {
      const value = mask[cursor];
      cursor = clip(Math.floor(cursor / columns) + by[1], 0, rows - 1) * columns +
        clip(cursor % columns + by[0], 0, columns - 1);
      if (event.shiftKey && mask[cursor] !== value) { keep(); paint(cursor, value); soon(); } else guesses();
    } else if (event.key === " " || event.key === "Enter") {
      keep();
      paint(cursor, mask[cursor] ? 0 : 1);
      soon();
    } else return;
    event.preventDefault();
  });
  part("filled").addEventListener("pointermove", event => {  // a patch of the filled image is asked about
    const {left, top, width, height} = event.target.getBoundingClientRect();
    cursor = under([(event.clientX - left) * W / width, (event.clientY - top) * H / height]);
    guesses();
  });
  const next = {blocks: 0, "single patches": 0};
  for (const button of form.querySelectorAll("button")) button.addEventListener("click", () => {
    const what = button.dataset.do;
    if (what === "undo") mask = before.pop() || mask;
    else {
      keep();
      mask = Array(patches).fill(0);
      if (what in next) for (const p of data[what][next[what]++ % data[what].length]) mask[p] = 1;
    }
    soon();
  });
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("change", event => {
    if (event.target.name === "street") set(photo, {src: streets[chosen("street")].shown});
    if (event.target.name !== "brush") show();
  });
  svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) svg.style.outline = "3px solid BLUE"; });
  svg.addEventListener("blur", () => { svg.style.outline = "none"; });
  set(svg, {tabindex: 0, role: "application", "aria-roledescription": "grid of patches"});
  Object.assign(svg.style, {cursor: "crosshair", outline: "none", outlineOffset: "-3px", touchAction: "none"});
  part("cursor-group").style.display = "";
"""

MASK_SCRIPT = NETWORK + PAINTING
