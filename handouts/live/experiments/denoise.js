// When is the content of a sample fixed?

LIVE.experiment("denoise", async (root, made) => {
  const { element, button, picture, run, row, column, said } = LIVE;
  const data = await LIVE.json("noise");
  const { side, steps, alphaBar, forks } = data;
  const size = 3 * side * side;
  let seed = 1;
  let mix = 0;
  let path = []; // at each stop: the noisy image and the clean one predicted
  let stop = 5;
  let forked = null;

  // Numbers of a normal distribution, the same for the same seed (mulberry32, Box and Muller).
  const normal = (start) => {
    let state = start * 2654435761;
    const uniform = () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return Float32Array.from(
      { length: size },
      () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    );
  };
  // On the sphere between two noises, so that what is between them is noise of the same strength.
  const between = (a, b, share) =>
    a.map((value, i) => Math.cos((share * Math.PI) / 2) * value + Math.sin((share * Math.PI) / 2) * b[i]);
  const toPixels = (image) => {
    const pixels = new Uint8Array(size);
    for (let i = 0; i < side * side; i += 1)
      for (let c = 0; c < 3; c += 1)
        pixels[3 * i + c] = Math.max(
          0,
          Math.min(255, Math.round(255 * (image[c * side * side + i] * data.std[c] + data.mean[c]))),
        );
    return pixels;
  };
  // DDIM with η = 0, from stop `first` on; gives for each stop the noisy images and the predicted clean ones.
  const sample = async (noisy, first = 0) => {
    const stops = [];
    for (let k = first; k < steps.length; k += 1) {
      const input = new Float32Array(forks * size);
      for (const [i, image] of noisy.entries()) input.set(image, i * size);
      const step = new Float32Array(forks).fill(steps[k]);
      const { outputs, ms } = await run("diffusion", {
        noisy: { data: input, dims: [forks, 3, side, side] },
        step: { data: step, dims: [forks] },
      });
      root.dataset.ms = ms.toFixed(1);
      const v = outputs.velocity.data;
      const [signal, sigma] = [Math.sqrt(alphaBar[k]), Math.sqrt(1 - alphaBar[k])];
      const clean = noisy.map((image, n) => image.map((value, i) => signal * value - sigma * v[n * size + i]));
      stops.push(noisy.map((image, n) => ({ noisy: image, clean: clean[n] })));
      if (k + 1 === steps.length) break;
      const [signalNext, sigmaNext] = [Math.sqrt(alphaBar[k + 1]), Math.sqrt(1 - alphaBar[k + 1])];
      noisy = noisy.map((image, n) =>
        image.map((value, i) => signalNext * clean[n][i] + sigmaNext * (sigma * value + signal * v[n * size + i])),
      );
    }
    return stops;
  };

  const shown = {
    noisy: picture(side, "The noisy image at this stop"),
    clean: picture(side, "The clean image predicted at this stop"),
    end: picture(side, "The image at the end"),
  };
  const others = Array.from({ length: forks - 1 }, (_, k) => picture(side, `Fork ${k + 1} at the end`));
  const words = said();
  const slider = element("input", {
    type: "range",
    min: 0,
    max: steps.length - 1,
    value: stop,
    "aria-label": "stop of the sampler",
    oninput: () => {
      stop = Number(slider.value);
      forked = null;
      draw();
    },
  });
  const draw = () => {
    const last = path.at(-1)[0].clean;
    shown.noisy.paint(toPixels(path[stop][0].noisy));
    shown.clean.paint(toPixels(path[stop][0].clean));
    shown.end.paint(toPixels(last));
    for (const [k, one] of others.entries())
      one.paint(forked ? toPixels(forked[k].clean) : new Uint8Array(size).fill(230));
    const noise = 100 * (1 - alphaBar[stop]);
    words.textContent = `Stop ${stop + 1} of ${steps.length}: ${noise.toFixed(noise > 99 ? 1 : 0)} % of the variance is noise.`;
  };
  const compute = LIVE.newest(root, async () => {
    const start = between(normal(seed), normal(seed + 1), mix);
    path = await sample([start]);
    forked = null;
    draw();
  });
  const fork = LIVE.newest(root, async () => {
    const from = path[stop][0].clean;
    const [signal, sigma] = [Math.sqrt(alphaBar[stop]), Math.sqrt(1 - alphaBar[stop])];
    const starts = others.map((_, k) =>
      normal(100 * seed + 10 * stop + k).map((noise, i) => signal * from[i] + sigma * noise),
    );
    const of = path;
    const ends = (await sample(starts, stop)).at(-1);
    if (of !== path) return; // another noise was asked for meanwhile
    forked = ends;
    draw();
  });
  const mixer = element("input", {
    type: "range",
    min: 0,
    max: 1,
    step: 0.125,
    value: 0,
    "aria-label": "from this noise to the next",
    oninput: () => {
      mix = Number(mixer.value);
      compute();
    },
  });
  made.append(
    row(
      column("noisy image", shown.noisy.canvas),
      column("clean image predicted from it", shown.clean.canvas),
      column("at the end", shown.end.canvas),
    ),
    words,
    row(element("label", {}, element("b", {}, "stop "), slider), button("fork here, with three other noises", fork)),
    row(...others.map((one, k) => column(`fork ${k + 1}, at the end`, one.canvas))),
    row(
      button("another noise", () => {
        seed += 1;
        mix = 0;
        mixer.value = 0;
        compute();
      }),
      element("label", {}, element("b", {}, "on the sphere to the next noise "), mixer),
      button("start again", () => {
        [seed, mix, stop] = [1, 0, 5];
        mixer.value = 0;
        slider.value = 5;
        compute();
      }),
    ),
  );
  await compute();
});
