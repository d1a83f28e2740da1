// How the explorer draws: curves along training, final values over the learning rate, small multiples. With uPlot.
"use strict";

const Charts = (() => {
  // Told apart by the colour-blind; at least 3:1 against the page.
  const COLOURS = {
    light: ["#0072b2", "#c45500", "#007a5a", "#a3458c", "#8a6d00", "#5f6b7a"],
    dark: ["#6db6e8", "#ff9a57", "#4dcca5", "#e29ccb", "#e3b945", "#aab4c0"],
  };
  const DRAGGED = 4;  // pixels
  const DASHES = [[], [8, 4], [2, 3]];

  // The page's own colours, which it changes with its theme.
  function theme(element) {
    const ink = getComputedStyle(element).color;
    const [r, g, b] = ink.match(/[\d.]+/g).map(Number);
    const dark = r + g + b > 3 * 128;
    return { ink, quiet: alpha(ink, 0.75), rule: alpha(ink, 0.14), colours: COLOURS[dark ? "dark" : "light"] };
  }

  function alpha(colour, share) {
    const [r, g, b] = colour.startsWith("#")
      ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))
      : colour.match(/[\d.]+/g);
    return `rgba(${r}, ${g}, ${b}, ${share})`;
  }

  // The look of what is pinned at a position; of the current run, which is not pinned, at -1.
  function look(colours, ink, position) {
    if (position < 0) return { stroke: ink, dash: [], width: 2 };
    const count = colours.length;
    return { stroke: colours[position % count], dash: DASHES[Math.floor(position / count) % DASHES.length], width: 1.5 };
  }

  const axis = (colours, label, log, size) => ({
    label, labelSize: label ? 20 : 0, labelFont: "13px system-ui, sans-serif", font: "12px system-ui, sans-serif", size,
    stroke: colours.quiet, grid: { stroke: colours.rule, width: 1 }, ticks: { stroke: colours.rule, width: 1, size: 5 },
    values: (_, splits) => splits.map((each) => each === null ? "" : written(each)),
    ...(log ? { splits: (plot, _, least, largest) => logarithmicTicks(least, largest), filter: (_, splits) => splits } : {}),
  });

  // Powers of ten, with their double and fivefold where there are few; of a narrow range, even steps.
  function logarithmicTicks(least, largest) {
    const decades = Math.log10(largest / least);
    const every = Math.ceil(decades / 8), factors = decades > 2.5 ? [1] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(least)); power <= Math.log10(largest); power += 1) {
      if (power % every === 0) ticks.push(...factors.map((factor) => Number(`${factor}e${power}`)));
    }
    const inside = ticks.filter((tick) => tick >= least && tick <= largest);
    return inside.length > 2 ? inside : evenTicks(least, largest);
  }

  function evenTicks(least, largest) {
    const rough = (largest - least) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    const first = Math.ceil(least / step);
    const count = Math.max(0, Math.floor(largest / step) - first + 1);
    return Array.from({ length: count }, (_, i) => (first + i) * step);
  }

  function written(value) {
    if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) {
      return value.toExponential().replace("e+", "e").replace("-", "−");
    }
    return String(Number(value.toPrecision(6))).replace("-", "−");
  }

  // A little room around the values, on either kind of scale.
  function room(log) {
    return (_, least, largest) => {
      if (least === null) return log ? [1, 10] : [0, 1];
      if (log) return [least / Math.max(1.05, (largest / least) ** 0.03), largest * Math.max(1.05, (largest / least) ** 0.03)];
      const around = (largest - least || Math.abs(largest) || 1) * 0.04;
      return [least - around, largest + around];
    };
  }

  // Lines as tables of uPlot: x, then every y of these xs. A logarithmic axis has no place for what is not positive.
  function tables(lines, xlog, ylog) {
    return lines.map(({ x, ys }) => {
      const kept = x.map((_, i) => i).filter((i) => !xlog || x[i] > 0);
      return [kept.map((i) => x[i]), ...ys.map((y) => kept.map((i) => ylog && !(y[i] > 0) ? null : y[i]))];
    });
  }

  // Curves along training.
  // lines: { x, ys: [line] or [mean, least, largest], look }; on: { hover(x or null), choose(x) }; at: the chosen x.
  function curves(element, { lines, xlog, ylog, xlabel, ylabel, height, at, scales, small, on }) {
    const colours = theme(element);
    const series = [{}], bands = [];
    for (const { ys, look: { stroke, dash, width } } of lines) {
      const first = series.length;
      ys.forEach((_, i) => series.push(i === 0
        ? { stroke, dash, width, points: { size: 4, fill: stroke } }
        : { stroke: alpha(stroke, 0.35), width: 0.5, points: { show: false } }));
      if (ys.length > 1) bands.push({ series: [first + 2, first + 1], fill: alpha(stroke, 0.16) });
    }
    const data = uPlot.join(tables(lines, xlog, ylog));
    let chosen = at;
    const plot = new uPlot({
      width: element.clientWidth, height, series, bands, legend: { show: false },
      scales: {
        x: { time: false, distr: xlog ? 3 : 1, range: scales?.x ?? room(xlog) },
        y: { distr: ylog ? 3 : 1, range: scales?.y ?? room(ylog) },
      },
      axes: [axis(colours, xlabel, xlog, small ? 26 : 32), axis(colours, ylabel, ylog, small ? 46 : 56)],
      cursor: {
        show: Boolean(on), y: false, drag: { x: true, y: false }, points: { size: 7 },
        dataIdx: (self, index, hovered) => lastKnown(self.data[index], hovered),
      },
      hooks: {
        draw: [(self) => mark(self, chosen, colours.ink)],
        setCursor: [(self) => on?.hover(self.cursor.left >= 0 ? self.posToVal(self.cursor.left, "x") : null)],
        ready: [(self) => clicked(self, (x) => on?.choose(x))],
      },
    }, data.length ? data : [[]], element);
    return { plot, choose: (x) => { chosen = x; plot.redraw(false); } };
  }

  // A click is no end of a drag.
  function clicked(plot, then) {
    let from = 0;
    plot.over.addEventListener("mousedown", (event) => { from = event.clientX; });
    plot.over.addEventListener("click", (event) => {
      if (Math.abs(event.clientX - from) <= DRAGGED) then(plot.posToVal(plot.cursor.left, "x"));
    });
  }

  // Curves are measured at different times: a curve's value is that of its last measurement.
  function lastKnown(values, position) {
    while (position > 0 && values[position] === undefined) position -= 1;
    return position;
  }

  function mark(plot, x, colour) {
    const place = plot.valToPos(x, "x", true);
    const { left, top, width, height } = plot.bbox;
    if (!(place >= left && place <= left + width)) return;
    const { ctx } = plot;
    ctx.save();
    ctx.strokeStyle = colour;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(place, top);
    ctx.lineTo(place, top + height);
    ctx.stroke();
    ctx.restore();
  }

  // Final values over the learning rate.
  // groups: { look, points: [{ rate, values, look or null }] }; choose(rate); select(least rate, largest rate).
  function finals(element, { groups, ylog, ylabel, height, choose, select }) {
    const colours = theme(element);
    const series = [{}], all = [];
    for (const { look: { stroke, dash }, points } of groups) {
      const seeds = Math.max(...points.map(({ values }) => values.length));
      const mean = ({ values }) => values.includes(null) ? null : values.reduce((a, b) => a + b, 0) / values.length;
      all.push({ x: points.map(({ rate }) => rate), ys: [
        points.map(mean), ...Array.from({ length: seeds }, (_, i) => points.map(({ values }) => values[i] ?? null))] });
      series.push({ stroke, dash, width: 1.5, points: { show: false } });
      for (let i = 0; i < seeds; i++) {
        series.push({ stroke, paths: () => null, points: { show: true, size: 5, fill: alpha(stroke, 0.5), width: 0 } });
      }
    }
    return new uPlot({
      width: element.clientWidth, height, series, legend: { show: false },
      scales: { x: { time: false, distr: 3, range: room(true) }, y: { distr: ylog ? 3 : 1, range: room(ylog) } },
      axes: [axis(colours, "learning rate η", true, 32), axis(colours, ylabel, ylog, 56)],
      cursor: { y: false, drag: { x: true, y: false, setScale: false }, points: { show: false } },
      hooks: {
        draw: [(self) => groups.forEach(({ points }) => points.forEach((point) => ring(self, point)))],
        setSelect: [(self) => {
          const { left, width } = self.select;
          if (width > DRAGGED) select(self.posToVal(left, "x"), self.posToVal(left + width, "x"));
        }],
        ready: [(self) => clicked(self, choose)],
      },
    }, uPlot.join(tables(all, true, ylog)), element);
  }

  // A ring around what is shown above.
  function ring(plot, { rate, values, look: shown }) {
    if (!shown || values.includes(null)) return;
    const { ctx } = plot;
    const x = plot.valToPos(rate, "x", true);
    const y = plot.valToPos(values.reduce((a, b) => a + b, 0) / values.length, "y", true);
    if (!isFinite(y)) return;
    ctx.save();
    ctx.strokeStyle = shown.stroke;
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.arc(x, y, 7 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.stroke();
    ctx.restore();
  }

  // The least and the largest x and y of several lines, so that their charts can share their axes.
  function extent(lines, xlog, ylog) {
    const ends = (values) => values.reduce(([a, b], each) => [Math.min(a, each), Math.max(b, each)], [Infinity, -Infinity]);
    const rows = tables(lines, xlog, ylog);
    const fitted = (values, log) => room(log)(null, ...(values.length ? ends(values) : [null, null]));
    const x = fitted(rows.flatMap(([xs]) => xs), xlog);
    const y = fitted(rows.flatMap(([, ...ys]) => ys.flat()).filter((each) => each !== null), ylog);
    return { x: () => x, y: () => y };
  }

  return { curves, finals, extent, theme, look, written };
})();
