// Streets with objects that can be dragged; it is added to `LIVE`.

(() => {
  const loaded = async (address) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  };
  const sprite = async (packed) => ({
    ...packed,
    pixels: LIVE.bytesOf(packed.pixels),
    mask: LIVE.bytesOf(packed.mask),
    sharp: await loaded(packed.sharp),
  });

  // The streets of "sprites", with all that is to be drawn.
  const streets = ({ streets: packed }) =>
    Promise.all(
      packed.map(async ({ name, pixels, sharp, sprites }) => ({
        name,
        pixels: LIVE.bytesOf(pixels),
        sharp: await loaded(sharp),
        sprites: await Promise.all(sprites.map(sprite)),
      })),
    );

  const boxOf = ({ sprite: { height, width }, y, x }) => [x, y, x + width, y + height];

  // What the networks see: `placed` are {sprite, y, x}, later ones cover earlier ones.
  const pasted = (street, placed, side) => {
    const pixels = street.pixels.slice();
    for (const { sprite: one, y, x } of placed)
      for (let v = 0; v < one.height; v += 1)
        for (let u = 0; u < one.width; u += 1) {
          const i = v * one.width + u;
          if (one.mask[i]) pixels.set(one.pixels.subarray(3 * i, 3 * i + 3), 3 * ((y + v) * side + x + u));
        }
    return pixels;
  };

  // What people see: the same, three times as sharp.
  const drawn = (context, unit, street, placed) => {
    context.imageSmoothingEnabled = true;
    context.drawImage(street.sharp, 0, 0, context.canvas.width, context.canvas.height);
    for (const { sprite: one, y, x } of placed)
      context.drawImage(one.sharp, x * unit, y * unit, one.width * unit, one.height * unit);
  };

  const frame = (context, unit, box, { colour, width = 2, dash = [], words = "" }) => {
    const [x0, y0, x1, y1] = box.map((value) => value * unit);
    context.setLineDash(dash);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
    if (!words) return;
    context.font = "bold 14px sans-serif";
    const wide = context.measureText(words).width + 6;
    const [left, top] = [Math.max(0, Math.min(x0, context.canvas.width - wide)), Math.max(0, y0 - 18)];
    context.fillStyle = colour;
    context.fillRect(left, top, wide, 18);
    context.fillStyle = "#000000";
    context.fillText(words, left + 3, top + 14);
  };

  // Pointer and arrow keys that move what lies on a picture: `grab(y, x)` says whether there is something at a place,
  // `by(down, right, first)` moves it, `first` where a new move begins. Arrow keys go `step` pixels, with shift `leap`.
  const drags = (shown, { step = 1, leap = 8, grab, by }) => {
    const { canvas, at } = shown;
    let last = null;
    let first = true;
    canvas.style.touchAction = "none";
    canvas.addEventListener("pointerdown", (event) => {
      const place = at(event);
      if (!grab(...place)) return;
      [last, first] = [place, true];
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const [y, x] = at(event);
      if (last && (y !== last[0] || x !== last[1])) {
        by(y - last[0], x - last[1], first);
        [last, first] = [[y, x], false];
      }
    });
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
    const ways = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      const way = ways[event.key];
      if (!way) return;
      event.preventDefault();
      const far = event.shiftKey ? leap : step;
      by(way[0] * far, way[1] * far, !event.repeat);
    });
  };

  // A street's objects while they are dragged on some pictures: `changed()` is called after each move.
  const stage = (pictures, side, changed) => {
    const made = { street: null, placed: [], undone: [], held: 0 };
    const inside = (value, length) => Math.max(0, Math.min(side - length, value));
    const put = (street, placed) => Object.assign(made, { street, placed, undone: [], held: placed.length - 1 });
    const grab = (y, x) => {
      const hit = made.placed.findLastIndex((one) => {
        const [x0, y0, x1, y1] = boxOf(one);
        return x >= x0 - 2 && x < x1 + 2 && y >= y0 - 2 && y < y1 + 2; // small ones for fingers, too
      });
      if (hit >= 0) made.held = hit;
      return hit >= 0;
    };
    const by = (down, right, first) => {
      if (first) made.undone.push(made.placed);
      made.placed = made.placed.map((one, k) => {
        if (k !== made.held) return one;
        return { ...one, y: inside(one.y + down, one.sprite.height), x: inside(one.x + right, one.sprite.width) };
      });
      changed();
    };
    const go = (placed) => {
      made.undone.push(made.placed);
      made.placed = placed;
      changed();
    };
    const undo = () => {
      if (!made.undone.length) return;
      made.placed = made.undone.pop();
      changed();
    };
    for (const shown of pictures) drags(shown, { grab, by });
    return Object.assign(made, {
      put,
      go,
      undo,
      grab,
      pixels: (placed = made.placed) => pasted(made.street, placed, side),
    });
  };

  LIVE.sprites = { streets, boxOf, drawn, frame, drags, stage };
})();
