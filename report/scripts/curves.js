// The curves of an experiment's metric: loads a data script, decodes it, and summarizes runs over their seeds.
// analysis/explorer.py writes the scripts and says what is in them.
"use strict";

const Curves = (() => {
  const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const loaded = new Map();  // promises of decoded data, by address
  const waiting = new Map();  // what settles them, by file name

  window.receiveCurves = (file, data) => waiting.get(file)(data);

  // A script rather than a request: browsers refuse requests to pages that are opened as files.
  function load(address, metric) {
    if (!loaded.has(address)) {
      loaded.set(address, new Promise((resolve, reject) => {
        waiting.set(address.split("/").pop(), (data) => resolve(decode(data, metric)));
        const script = document.createElement("script");
        script.src = address;
        script.onerror = () => {
          loaded.delete(address);
          script.remove();
          reject(new Error(`${address} could not be loaded`));
        };
        document.head.append(script);
      }));
    }
    return loaded.get(address);
  }

  function decode(data, metric) {
    const percent = metric.endsWith("accuracy");
    const value = data.linear
      ? (steps) => steps / data.steps * (percent ? 100 : 1)
      : (steps) => Math.sinh(steps / data.steps) * data.unit;
    const parameters = [...data.parameters];
    if (data.index) {
      const indices = [...new Set(data.curves.map((curve) => curve[1]))].sort((a, b) => a - b);
      parameters.push({ name: data.index, label: data.index, values: indices });
    }
    const times = data.times.map(decodeTimes);
    const settings = new Map();
    for (const [positions, index, time, updatesPerEpoch, seeds] of data.curves) {
      const values = Object.fromEntries(data.parameters.map((each, i) => [each.name, each.values[positions[i]]]));
      if (data.index) values[data.index] = index;
      const key = keyOf(values);
      if (!settings.has(key)) settings.set(key, { key, values, runs: [] });
      const { update, seconds } = times[time];
      const epoch = update.map((each) => each / updatesPerEpoch);
      for (const [seed, differences] of seeds) {
        let steps = 0;
        settings.get(key).runs.push({
          seed, update, seconds, epoch,
          y: integers(differences).map((each) => each === null ? null : value(steps += each)),
        });
      }
    }
    return { about: data.about, percent, parameters, settings };
  }

  // Integers in the base64 VLQ of source maps; null for an exclamation mark.
  function integers(text) {
    const found = [];
    let integer = 0, shift = 0;
    for (const letter of text) {
      if (letter === "!") {
        found.push(null);
        continue;
      }
      const digit = BASE64.indexOf(letter);
      integer |= (digit & 31) << shift;
      shift += 5;
      if (digit & 32) continue;
      found.push(integer & 1 ? -(integer >> 1) : integer >> 1);
      integer = shift = 0;
    }
    return found;
  }

  function decodeTimes([updates, every, knots, unit]) {
    const update = summed(updates);
    const known = summed(knots).map((each) => each * unit);
    const last = update.length - 1;
    let before = -1;
    const seconds = update.map((_, i) => {
      const knot = Math.min(Math.floor(i / every), known.length - 2);
      const from = knot * every, to = knot === known.length - 2 ? last : from + every;
      const time = to > from ? known[knot] + (known[knot + 1] - known[knot]) * (i - from) / (to - from) : known[0];
      return before = Math.max(time, before + 1e-9);  // charts need times that rise
    });
    return { update, seconds };
  }

  function summed(differences) {
    let sum = 0;
    return differences.map((each) => sum += each);
  }

  // What names a setting in addresses: learning_rate:0.5,hidden:300
  function keyOf(values) {
    return Object.entries(values).map(([name, each]) => `${name}:${each === null ? "all" : each}`).join(",");
  }

  // The setting that agrees with the wanted values (as strings, by name) in most parameters, above all in `first`;
  // then the one whose learning rate is nearest.
  function nearest(data, wanted, first) {
    let best = null, least = Infinity;
    for (const setting of data.settings.values()) {
      let distance = 0;
      for (const [name, each] of Object.entries(setting.values)) {
        if (!(name in wanted) || String(each ?? "all") === wanted[name]) continue;
        const apart = Math.abs(Math.log(Number(each) / Number(wanted[name])));
        distance += name === first ? 1e6 : name === "learning_rate" && isFinite(apart) ? Math.min(apart / 100, 0.9) : 1;
      }
      if (distance < least) [best, least] = [setting, distance];
    }
    return best;
  }

  // The settings that differ from one in this parameter only, itself included, in the order of the parameter's values.
  function siblings(data, setting, name) {
    const parameter = data.parameters.find((each) => each.name === name);
    return parameter.values
      .map((each) => data.settings.get(keyOf({ ...setting.values, [name]: each })))
      .filter(Boolean);
  }

  // Mean, least and largest value over the seeds that were measured after the same update.
  function overSeeds(setting) {
    const at = new Map();
    for (const run of setting.runs) {
      run.update.forEach((update, i) => {
        if (!at.has(update)) at.set(update, { update, epoch: run.epoch[i], seconds: [], values: [] });
        at.get(update).seconds.push(run.seconds[i]);
        at.get(update).values.push(run.y[i]);
      });
    }
    const points = [...at.values()].sort((a, b) => a.update - b.update);
    const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;
    const of = (summarize) => points.map(({ values }) => values.includes(null) ? null : summarize(values));
    let before = -1;
    return {
      update: points.map((point) => point.update),
      epoch: points.map((point) => point.epoch),
      seconds: points.map((point) => before = Math.max(mean(point.seconds), before + 1e-9)),
      seeds: points.map((point) => point.values.length),
      mean: of(mean), least: of((values) => Math.min(...values)), largest: of((values) => Math.max(...values)),
    };
  }

  // The last value of each seed; of seeds that were trained for fewer epochs than others, none.
  function finalValues(setting) {
    const last = Math.max(...setting.runs.map(({ update }) => update.at(-1)));
    return setting.runs.filter(({ update }) => update.at(-1) === last).map(({ y }) => y.at(-1));
  }

  // The position of the last measurement at or before x.
  function positionAt(xs, x) {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (xs[middle] <= x * (1 + 1e-9)) low = middle; else high = middle - 1;
    }
    return low;
  }

  return { load, keyOf, nearest, siblings, overSeeds, finalValues, positionAt };
})();
