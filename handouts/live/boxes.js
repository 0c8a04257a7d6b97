// Boxes as the course's detectors have them, (x0, y0, x1, y1) in pixels: what lecture_utils/detection computes of the
// networks' outputs, in the same order; tests/browser compares the two. It is added to `LIVE`.

(() => {
  const LARGEST_LOG = Math.log(1000 / 16); // no side grows more
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);

  const iou = (a, b) => {
    const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
    const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
    const both = Math.max(0, width) * Math.max(0, height);
    const either = area(a) + area(b) - both;
    return either > 0 ? both / either : 0;
  };

  const gridAnchors = ({ base, grid, stride }) =>
    Array.from({ length: grid * grid * base.length }, (_, i) => {
      const point = Math.floor(i / base.length);
      const [y, x] = [Math.floor(point / grid) * stride, (point % grid) * stride];
      return base[i % base.length].map((side, k) => side + (k % 2 ? y : x));
    });

  // What the rule of an RPN's training makes of each anchor, for one object.
  const labelled = (overlaps, { high, low, bestMatch }) => {
    const most = Math.max(...overlaps);
    return overlaps.map((overlap) => {
      if (overlap >= high || (bestMatch && overlap === most && overlap > 0)) return "positive";
      return overlap < low ? "negative" : "ignored";
    });
  };

  const decode = (deltas, [x0, y0, x1, y1], weights = [1, 1, 1, 1]) => {
    const [dx, dy, dw, dh] = weights.map((weight, k) => deltas[k] / weight);
    const [width, height] = [x1 - x0, y1 - y0];
    const [x, y] = [(x0 + x1) / 2 + dx * width, (y0 + y1) / 2 + dy * height];
    const [w, h] = [width * Math.exp(Math.min(dw, LARGEST_LOG)), height * Math.exp(Math.min(dh, LARGEST_LOG))];
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
  };
  const clip = (box, side) => box.map((value) => Math.max(0, Math.min(side, value)));
  const smaller = ([x0, y0, x1, y1], least) => x1 - x0 < least || y1 - y0 < least;

  // Of boxes by descending score, those to keep: their numbers.
  const suppress = (sorted, threshold) => {
    const kept = [];
    for (const [i, box] of sorted.entries()) if (kept.every((k) => iou(sorted[k], box) <= threshold)) kept.push(i);
    return kept;
  };

  const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));
  const four = (values, i) => values.subarray(4 * i, 4 * i + 4);

  // The RPN's proposals, best first.
  const proposals = ({ objectness, deltas }, anchors, { rpn, side }) => {
    const order = [...objectness.data.keys()].sort((a, b) => objectness.data[b] - objectness.data[a]);
    const boxes = order
      .slice(0, rpn.before)
      .map((i) => clip(decode(four(deltas.data, i), anchors[i]), side))
      .filter((box) => !smaller(box, 1e-3));
    return suppress(boxes, rpn.threshold)
      .slice(0, rpn.after)
      .map((i) => boxes[i]);
  };

  // What the head says of the proposals from a score on, best first and before its NMS: {box, label, score}.
  const regions = (given, { probabilities, deltas }, least, { head, side }) => {
    const classes = probabilities.dims[1];
    const found = [];
    for (const [i, proposal] of given.entries())
      for (let label = 1; label < classes; label += 1) {
        const [at, score] = [i * classes + label, probabilities.data[i * classes + label]];
        const box = clip(decode(four(deltas.data, at), proposal, head.weights), side);
        if (score > least && !smaller(box, 1e-2)) found.push({ box, label, score });
      }
    return found.sort((a, b) => b.score - a.score);
  };

  // NMS within each class: those of `found`, best first, that stay.
  const afterNms = (found, threshold) => {
    const kept = new Set();
    for (const label of new Set(found.map((one) => one.label))) {
      const same = found.filter((one) => one.label === label);
      for (const i of suppress(
        same.map((one) => one.box),
        threshold,
      ))
        kept.add(same[i]);
    }
    return found.filter((one) => kept.has(one));
  };

  // DETR's queries: the likeliest class of object of each, its box in pixels.
  const queries = ({ probabilities, boxes }, side) =>
    Array.from({ length: probabilities.dims[1] }, (_, query) => {
      const classes = probabilities.dims[2];
      const [, ...objects] = probabilities.data.subarray(query * classes, (query + 1) * classes);
      const score = Math.max(...objects);
      const [x, y, w, h] = four(boxes.data, query);
      const box = [x - w / 2, y - h / 2, x + w / 2, y + h / 2].map((value) => value * side);
      return { query, box: clip(box, side), label: 1 + objects.indexOf(score), score };
    });

  LIVE.boxes = { iou, gridAnchors, labelled, decode, suppress, sigmoid, proposals, regions, afterNms, queries };
})();
