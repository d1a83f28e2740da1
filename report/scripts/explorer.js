// The explorer's controls, table and downloads. What is chosen stands in the page's address.
"use strict";

(() => {
  const section = document.getElementById("explorer");
  const part = (name) => section.querySelector(`[data-part="${name}"]`);
  const control = (name) => section.querySelector(`[name="${name}"]`);
  const CHOICES = ["x", "seeds", "view"], SWITCHES = ["xlog", "ylog"];
  const UNITS = { epoch: "epoch", update: "update", seconds: "time in seconds" };
  const experiments = readExperiments();

  let state = null;  // what is chosen: experiment, metric, x, xlog, ylog, seeds, view, by, at
  let data = null;  // the curves of the metric
  let current = null, pinned = [];  // settings
  let chart = null, shown = [], cells = [];  // what is drawn: lines; the table's cells that change with x

  // The experiments and their scripts are listed on the page, for readers without scripts as well.
  function readExperiments() {
    return new Map([...document.querySelectorAll("#explorer-data li")].map((item) => {
      const links = [...item.querySelectorAll("a")];
      const [, name] = links[0].getAttribute("href").match(/data-(\w+)-\w+\.js$/);
      const metrics = new Map(links.map((link) => [link.getAttribute("href").match(/-(\w+)\.js$/)[1], link]));
      return [name, { title: item.querySelector("strong").textContent, metrics }];
    }));
  }

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  // State and address ------------------------------------------------------------------------------------------

  function readState(query) {
    const given = new URLSearchParams(query);
    const usual = new URLSearchParams(section.dataset.start);
    const one = (name, known) => [given, usual].map((each) => each.get(name)).find((each) => known.includes(each));
    const experiment = one("experiment", [...experiments.keys()]) ?? [...experiments.keys()][0];
    const metrics = [...experiments.get(experiment).metrics.keys()];
    const start = given.has("experiment") ? given : usual;
    return {
      experiment,
      metric: [start.get("metric"), "train_loss"].find((each) => metrics.includes(each)) ?? metrics[0],
      ...Object.fromEntries(CHOICES.map((name) => {
        const options = [...control(name).options].map((option) => option.value);
        return [name, options.includes(start.get(name)) ? start.get(name) : options[0]];
      })),
      ...Object.fromEntries(SWITCHES.map((name) => [name, start.get(name) === "1"])),
      by: start.get("by"),
      at: start.has("at") ? Number(start.get("at")) : NaN,
      run: start.get("run") ?? "", pins: start.getAll("pin"),
    };
  }

  function writeState() {
    const query = new URLSearchParams({ experiment: state.experiment, metric: state.metric });
    CHOICES.forEach((name) => { if (state[name] !== control(name).options[0].value) query.set(name, state[name]); });
    SWITCHES.forEach((name) => { if (state[name]) query.set(name, "1"); });
    if (state.view === "multiples") query.set("by", state.by);
    query.set("at", String(Number(state.at.toPrecision(6))));
    query.set("run", current.key);
    for (const { values } of pinned) {  // in what they differ from the run
      const differing = Object.entries(values).filter(([name, each]) => each !== current.values[name]);
      query.append("pin", Curves.keyOf(Object.fromEntries(differing)));
    }
    const words = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
    history.replaceState(null, "", `?${words}${location.hash}`);
  }

  const wanted = (key) => Object.fromEntries(key.split(",").filter(Boolean).map((each) => {
    const colon = each.indexOf(":");
    return [each.slice(0, colon), each.slice(colon + 1)];
  }));

  // Loading ----------------------------------------------------------------------------------------------------

  async function load(run, pins) {
    const asked = state.experiment + state.metric;
    const { title, metrics } = experiments.get(state.experiment);
    say(`Loading ${title} …`);
    try {
      const loaded = await Curves.load(metrics.get(state.metric).getAttribute("href"), state.metric);
      if (asked !== state.experiment + state.metric) return;  // the reader has gone on
      data = loaded;
    } catch (error) {
      say(`${error.message}. Reload the page to try again.`);
      section.hidden = false;
      return;
    }
    current = Curves.nearest(data, wanted(run));
    pinned = [...new Set(pins.map((key) => Curves.nearest(data, { ...wanted(run), ...wanted(key) })))];
    fillMetrics();
    render();
  }

  function fillMetrics() {
    const metrics = experiments.get(state.experiment).metrics;
    const options = [...metrics].map(([name, link]) => element("option", { value: name }, link.textContent));
    control("metric").replaceChildren(...options);
    control("experiment").value = state.experiment;
    control("metric").value = state.metric;
    part("about").textContent = data.about[0].toUpperCase() + data.about.slice(1) + ".";
  }

  // Choosing runs ----------------------------------------------------------------------------------------------

  function written({ values, words }, value) {
    if (value === null) return "all";
    if (typeof value === "boolean") return value ? "yes" : "no";
    return typeof value === "number" ? Charts.written(value) : words[values.indexOf(value)];
  }

  const describe = ({ values }, names = Object.keys(values)) => names.map((name) => {
    const parameter = data.parameters.find((each) => each.name === name);
    return `${name === "learning_rate" ? "η" : parameter.label} = ${written(parameter, values[name])}`;
  }).join(", ") || "the only setting";

  // The parameters in which what is shown differs; all of them where nothing does.
  function differing(settings) {
    const names = data.parameters.map(({ name }) => name);
    const differ = names.filter((name) => new Set(settings.map(({ values }) => values[name])).size > 1);
    return differ.length ? differ : names;
  }

  function fillParameters() {
    const fields = data.parameters.map((each) => each.name === "learning_rate" ? slider(each) : choice(each));
    part("parameters").replaceChildren(...fields);
  }

  function choice(parameter) {
    const { name, label } = parameter;
    const options = parameter.values.map((value) =>
      element("option", { value: String(value ?? "all") }, written(parameter, value)));
    const select = element("select", { name: `parameter-${name}` }, ...options);
    select.value = String(current.values[name] ?? "all");
    select.addEventListener("change", () => {
      const values = Object.entries(current.values).map(([other, each]) => [other, String(each ?? "all")]);
      current = Curves.nearest(data, { ...Object.fromEntries(values), [name]: select.value }, name);
      render(select.name);
    });
    return element("label", {}, label, select);
  }

  // It stops at the rates that there are for the other parameters' values.
  function slider(parameter) {
    const settings = Curves.siblings(data, current, "learning_rate");
    const input = element("input", {
      type: "range", name: "parameter-learning_rate", min: 0, max: settings.length - 1, step: 1,
    });
    const output = element("output");
    const tell = () => {
      output.textContent = Charts.written(current.values.learning_rate);
      input.setAttribute("aria-valuetext", output.textContent);
    };
    input.value = settings.indexOf(current);
    input.disabled = settings.length < 2;
    tell();
    input.addEventListener("input", () => {
      current = settings[input.value];
      tell();
      render(input.name, false);
    });
    return element("label", { class: "wide" }, `${parameter.label}: `, output, input);
  }

  function pin(settings) {
    pinned = [...new Set([...pinned, ...settings])];
    render();
  }

  // Drawing ----------------------------------------------------------------------------------------------------

  let frame = 0;
  function render(focus, parameters = true) {
    if (parameters) {
      fillParameters();
      if (focus) control(focus)?.focus();
    }
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(draw);
  }

  function draw() {
    CHOICES.forEach((name) => { control(name).value = state[name]; });
    SWITCHES.forEach((name) => { control(name).checked = state[name]; });
    fillPanels();
    const colours = Charts.theme(section);
    const settings = state.view === "multiples" ? Curves.siblings(data, current, state.by)
      : [...pinned, ...(pinned.includes(current) ? [] : [current])];
    shown = settings.map((setting) => {
      const position = state.view === "multiples" ? -1 : pinned.indexOf(setting);
      return { setting, look: Charts.look(colours.colours, colours.ink, position), ...lineOf(setting) };
    });
    const ends = shown.map(({ lines }) => Math.max(...lines.map(({ x }) => x.at(-1))));
    if (!(state.at >= 0 && state.at <= Math.max(...ends))) state.at = Math.min(...ends);
    fillTable();
    fillCursor(ends);
    for (const name of ["chart", "finals"]) part(name).replaceChildren();
    if (state.view === "multiples") drawPanels();
    else drawOne();
    drawFinals();
    part("chart").setAttribute("aria-label",
      `${axisLabel()} over ${UNITS[state.x]}: ${shown.map(({ setting }) => describe(setting)).join("; ")}. `
      + "The table below has the values.");
    for (const each of part("actions").querySelectorAll("[name^=unpin]")) each.disabled = !pinned.length;
    control("pin").disabled = pinned.includes(current);
    say("");
    writeState();
    section.hidden = false;
  }

  // A setting's lines: one a seed, or one over them, with its range.
  function lineOf(setting) {
    if (state.seeds === "each") {
      const lines = setting.runs.map((run) => ({ x: run[state.x], ys: [run.y], run }));
      return { lines };
    }
    const summary = Curves.overSeeds(setting);
    const ys = state.seeds === "range" ? [summary.mean, summary.least, summary.largest] : [summary.mean];
    return { lines: [{ x: summary[state.x], ys, summary }] };
  }

  const axisLabel = () => `${control("metric").selectedOptions[0].textContent}${data.percent ? " in %" : ""}`;

  const drawn = (entries) => entries.flatMap(({ lines, look }) => lines.map((line) => ({ ...line, look })));

  function drawOne() {
    chart = Charts.curves(part("chart"), {
      lines: drawn(shown), xlog: state.xlog, ylog: state.ylog, xlabel: UNITS[state.x], ylabel: axisLabel(),
      height: innerWidth < 600 ? 280 : 380, at: state.at,
      on: { hover: (x) => fillValues(x ?? state.at), choose },
    });
  }

  function drawPanels() {
    chart = null;
    const scales = Charts.extent(drawn(shown), state.xlog, state.ylog);
    const grid = element("div", { class: "panels" });
    part("chart").append(grid);
    const places = shown.map(({ setting }) => {
      const button = element("button", { type: "button" }, describe(setting, [state.by]));
      button.addEventListener("click", () => {
        current = setting;
        state.view = control("view").options[0].value;
        render();
        control("view").focus();
      });
      const place = element("div");
      grid.append(element("div", { class: "panel" }, button, place));
      return place;
    });
    shown.forEach((entry, i) => Charts.curves(places[i], {
      lines: drawn([entry]), xlog: state.xlog, ylog: state.ylog, height: 150, at: state.at, scales, small: true,
    }));
  }

  function drawFinals() {
    const settings = shown.map(({ setting }) => setting);
    const groups = new Map();
    for (const entry of shown) {
      const siblings = "learning_rate" in entry.setting.values
        ? Curves.siblings(data, entry.setting, "learning_rate") : [];
      if (siblings.length > 1 && !groups.has(siblings[0].key)) groups.set(siblings[0].key, { siblings, look: entry.look });
    }
    part("finals-figure").hidden = !groups.size;
    if (!groups.size) return;
    const lookOf = (setting) => shown[settings.indexOf(setting)]?.look;
    const own = Curves.siblings(data, current, "learning_rate");
    const colours = Charts.theme(section);
    Charts.finals(part("finals"), {
      groups: [...groups.values()].map(({ siblings, look }) => ({
        look: groups.size > 1 ? look : { ...look, stroke: colours.quiet },
        points: siblings.map((setting) => ({
          rate: setting.values.learning_rate, look: lookOf(setting), values: Curves.finalValues(setting),
        })),
      })),
      ylog: state.ylog, ylabel: axisLabel(), height: 240,
      choose: (rate) => {
        const apart = ({ values }) => Math.abs(Math.log(values.learning_rate / rate));
        current = own.reduce((best, each) => apart(each) < apart(best) ? each : best);
        render();
      },
      select: (least, largest) => pin(own.filter(({ values }) =>
        values.learning_rate >= least && values.learning_rate <= largest)),
    });
  }

  function fillPanels() {
    const several = data.parameters.filter(({ name }) => Curves.siblings(data, current, name).length > 1);
    const options = several.map(({ name, label }) => element("option", { value: name }, label));
    control("by").replaceChildren(...options);
    if (!several.some(({ name }) => name === state.by)) {
      const size = ({ name }) => Curves.siblings(data, current, name).length;
      state.by = several.reduce((best, each) => !best || size(each) > size(best) ? each : best, null)?.name ?? null;
    }
    if (!state.by) state.view = "one";
    control("by").value = state.by;
    control("by").parentElement.hidden = state.view !== "multiples";
    control("view").options[1].disabled = !state.by;
  }

  // The chosen x and its values ----------------------------------------------------------------------------------

  // The measured x that the slider stops at: those of the longest line.
  let stops = [];
  function fillCursor(ends) {
    const longest = shown[ends.indexOf(Math.max(...ends))].lines;
    stops = longest.reduce((best, each) => each.x.at(-1) > best.x.at(-1) ? each : best).x;
    const input = control("at");
    input.max = stops.length - 1;
    input.value = Curves.positionAt(stops, state.at);
    state.at = stops[input.value];
    fillValues(state.at);
  }

  function choose(x) {
    const position = Curves.positionAt(stops, x);
    const next = Math.min(position + 1, stops.length - 1);
    state.at = Math.abs(stops[next] - x) < Math.abs(stops[position] - x) ? stops[next] : stops[position];
    control("at").value = stops.indexOf(state.at);
    fillValues(state.at);
    chart?.choose(state.at);
    writeState();
  }

  function fillTable() {
    const each = state.seeds === "each", range = state.seeds === "range";
    const unit = data.percent ? " in %" : "";
    const headings = ["Run", ...(each ? ["Seed", `Value${unit}`] : [`Mean${unit}`]),
      ...(range ? ["Least", "Largest"] : []), ...(each ? [] : ["Seeds"]), `Measured at ${UNITS[state.x]}`];
    const head = headings.map((heading) => element("th", { scope: "col" }, heading));
    const names = differing(shown.map(({ setting }) => setting));
    cells = [];
    const rows = shown.flatMap(({ setting, look, lines }) => lines.map((line, i) => {
      const values = headings.slice(1).map(() => element("td"));
      cells.push({ line, values });
      const swatch = element("span", { class: "swatch", "aria-hidden": "true" });
      swatch.style.borderTopColor = look.stroke;
      swatch.style.borderTopStyle = ["solid", "dashed", "dotted"][look.dash.length ? (look.dash[0] > 4 ? 1 : 2) : 0];
      const run = element("th", { scope: "row" }, swatch, describe(setting, names));
      if (i === 0 && pinned.includes(setting) && state.view !== "multiples") run.append(" ", unpin(setting));
      return element("tr", {}, run, ...values);
    }));
    part("head").replaceChildren(element("tr", {}, ...head));
    part("body").replaceChildren(...rows);
  }

  function unpin(setting) {
    const button = element("button", { type: "button", "aria-label": `Unpin ${describe(setting)}` }, "unpin");
    button.addEventListener("click", () => {
      pinned = pinned.filter((other) => other !== setting);
      render();
      control("pin").focus();
    });
    return button;
  }

  function fillValues(x) {
    const unit = UNITS[state.x];
    const label = `${unit} ${Charts.written(x)}`;
    part("caption").textContent = `${axisLabel()} at ${label}`;
    part("at").textContent = Charts.written(state.at);
    control("at").setAttribute("aria-valuetext", `${unit} ${Charts.written(state.at)}`);
    part("unit").textContent = unit;
    for (const { line, values } of cells) {
      const position = Curves.positionAt(line.x, x);
      const over = x > line.x.at(-1) * (1 + 1e-9) + 1e-9;
      const measured = over ? `ended at ${Charts.written(line.x.at(-1))}` : Charts.written(line.x[position]);
      const found = line.ys.map((y) => over ? "–" : value(y[position]));
      const texts = line.run ? [String(line.run.seed), ...found]
        : [...found, over ? "–" : String(line.summary.seeds[position])];
      values.forEach((cell, i) => { cell.textContent = [...texts, measured][i]; });
    }
  }

  function value(number) {
    if (number === null) return "not finite";
    return data.percent ? number.toFixed(2) : Charts.written(Number(number.toPrecision(4)));
  }

  // CSV of what is shown -----------------------------------------------------------------------------------------

  function csv() {
    const names = data.parameters.map(({ name }) => name);
    const summaries = { each: ["seed", "value"], mean: ["seeds", "mean"], range: ["seeds", "mean", "least", "largest"] };
    const [who, ...values] = summaries[state.seeds];
    const lines = [["experiment", "metric", ...names, who, "epoch", "update", "seconds", ...values]];
    const share = (y) => y === null ? "" : Number((data.percent ? y / 100 : y).toPrecision(5));
    for (const { setting, lines: drawnLines } of shown) {
      const fixed = [state.experiment, state.metric, ...names.map((name) => setting.values[name] ?? "all")];
      for (const { ys, run, summary } of drawnLines) {
        const times = run ?? summary;
        times.update.forEach((update, i) => lines.push([...fixed, run ? run.seed : summary.seeds[i],
          Number(times.epoch[i].toPrecision(8)), update, Number(times.seconds[i].toPrecision(5)),
          ...ys.map((y) => share(y[i]))]));
      }
    }
    return lines.map((line) => line.map((cell) => /[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell)
      .join(",")).join("\n") + "\n";
  }

  function download() {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    const link = element("a", { href: address, download: `${state.experiment}-${state.metric}.csv` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  function say(words) {
    part("status").textContent = words;
  }

  // ------------------------------------------------------------------------------------------------------------

  function listen() {
    control("experiment").addEventListener("change", (event) => {
      const metrics = experiments.get(event.target.value).metrics;
      const metric = metrics.has(state.metric) ? state.metric : [...metrics.keys()][0];
      state = { ...state, experiment: event.target.value, metric, at: NaN, by: null };
      load(current.key, []);
    });
    control("metric").addEventListener("change", (event) => {
      state.metric = event.target.value;
      load(current.key, pinned.map(({ key }) => key));
    });
    control("x").addEventListener("change", (event) => {
      // The same moment of the longest run, in the new unit.
      const [{ x, run, summary }] = cells.map(({ line }) => line).sort((a, b) => b.x.at(-1) - a.x.at(-1));
      state.at = (run ?? summary)[event.target.value][Curves.positionAt(x, state.at)];
      state.x = event.target.value;
      render();
    });
    for (const name of ["seeds", "view", "by"]) {
      control(name).addEventListener("change", (event) => { state[name] = event.target.value; render(); });
    }
    for (const name of SWITCHES) {
      control(name).addEventListener("change", (event) => { state[name] = event.target.checked; render(); });
    }
    control("at").addEventListener("input", (event) => choose(stops[event.target.value]));
    control("pin").addEventListener("click", () => pin([current]));
    control("pin-rates").addEventListener("click", () => pin(Curves.siblings(data, current, "learning_rate")));
    control("unpin-all").addEventListener("click", () => { pinned = []; render(); control("pin").focus(); });
    control("csv").addEventListener("click", download);
    const redraw = () => { if (data) render(undefined, false); };
    let width = 0;
    new ResizeObserver(([entry]) => {
      if (width && entry.contentRect.width !== width) redraw();
      width = entry.contentRect.width;
    }).observe(section);
    // The site's switch between light and dark marks the root (here) or the body (Quarto's own).
    const themes = new MutationObserver(redraw);
    for (const marked of [document.documentElement, document.body]) {
      themes.observe(marked, { attributes: true, attributeFilter: ["class", "data-theme"] });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    document.addEventListener("load", ({ target }) => { if (target.rel === "stylesheet") redraw(); }, true);  // Quarto's
  }

  const options = [...experiments].map(([name, { title }]) => element("option", { value: name }, title));
  control("experiment").replaceChildren(...options);
  state = readState(location.search);
  listen();
  load(state.run, state.pins);
})();
