// Runs the networks beside the page. It is started from a blob, with ONNX Runtime before it (file pages may load no
// worker from a file). Messages in: {id, load: name, model} and {id, run: name, inputs}; out: {id, outputs, ms} or {id, error}.

const sessions = new Map();

const start = ({ wasm, glue }) => {
  ort.env.wasm.wasmBinary = wasm;
  // A module is imported from its text: a file has no origin, so its own addresses are refused, in WebKit a blob's, too.
  ort.env.wasm.wasmPaths = { mjs: `data:text/javascript,${encodeURIComponent(new TextDecoder().decode(glue))}` };
  ort.env.wasm.numThreads = 1; // more would need headers that a file has not
};

const load = async (name, model) => {
  sessions.set(name, await ort.InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 3 }));
  return {};
};

const run = async (name, inputs) => {
  const feeds = {};
  for (const [key, { data, dims }] of Object.entries(inputs)) feeds[key] = new ort.Tensor("float32", data, dims);
  const begin = performance.now();
  const results = await sessions.get(name).run(feeds);
  const ms = performance.now() - begin;
  const outputs = {};
  for (const [key, tensor] of Object.entries(results)) outputs[key] = { data: tensor.data, dims: tensor.dims };
  return { outputs, ms };
};

// One after the other: a session can only run once at a time.
let last = Promise.resolve();
self.onmessage = ({ data: message }) => {
  if (message.start) return start(message.start);
  last = last.then(async () => {
    try {
      const answer = message.load ? await load(message.load, message.model) : await run(message.run, message.inputs);
      self.postMessage({ id: message.id, ...answer });
    } catch (error) {
      self.postMessage({ id: message.id, error: String(error) });
    }
  });
};
