// Curves are drawn anew where a script runs: values under the pointer, arms that can be hidden, a stretch to zoom in on.
// Without a script, and on paper, the pictures stay.
const panels = []; // of all figures: an arm is hidden in each at once
const hidden = new Set();

const make = (tag, name, parent, text = "") => {
  const made = document.createElement(tag);
  if (tag === "button") made.type = "button";
  made.className = name;
  made.textContent = text;
  parent.append(made);
  return made;
};
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const place = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });
const number = (value, digits) => {
  const size = Math.abs(value);
  const tiny = size && size < 1e-4;
  const text = tiny ? value.toExponential(digits - 1) : size < 10 ** digits ? value.toPrecision(digits) : String(value);
  return text.replaceAll("-", "−");
};
const nearest = ([xs, ys], x) => {
  let best = -1;
  xs.forEach((each, i) => {
    if (ys[i] !== null && (best < 0 || Math.abs(each - x) < Math.abs(xs[best] - x))) best = i;
  });
  return best;
};
const swatch = ({ color: stroke, dash }) => {
  const [picture, line] = ["svg", "line"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  const dashes = dash.map((length) => 2.5 * length);
  const drawn = { x1: 0, x2: 24, y1: 4, y2: 4, stroke, "stroke-width": 2.5, "stroke-dasharray": dashes };
  picture.setAttribute("viewBox", "0 0 24 8");
  picture.setAttribute("aria-hidden", true);
  for (const [name, value] of Object.entries(drawn)) line.setAttribute(name, value);
  picture.append(line);
  return picture;
};
const traced = (...runs) => {
  const path = new Path2D();
  for (const run of runs) run.forEach(([left, top], i) => (i ? path.lineTo(left, top) : path.moveTo(left, top)));
  return path;
};
const parts = (u, series) => { // the runs of points that a line joins, in pixels
  const found = [[]];
  u.data[series].forEach((y, i) => {
    if (y === null) found.push([]);
    else if (y !== undefined) found.at(-1).push([u.valToPos(u.data[0][i], "x", true), u.valToPos(y, "y", true)]);
  });
  return found.filter((part) => part.length);
};
const clipped = (u, draw) => {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  draw(ctx, bbox);
  ctx.restore();
};
const alone = (ys, i) => {
  const next = (step) => {
    for (let j = i + step; j >= 0 && j < ys.length; j += step) if (ys[j] !== undefined) return ys[j];
    return null;
  };
  return ys[i] != null && next(-1) === null && next(1) === null;
};
const points = (u, series) => { // a point without a neighbour is no line; of few all are seen
  const [first, last] = u.series[0].idxs;
  const few = (last - first) * 14 < u.over.clientWidth;
  const found = [];
  for (let i = first; i <= last; i++) if (few || alone(u.data[series], i)) found.push(i);
  return found;
};
const STEPS = [...Array(9).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** power));

// One axes of a figure: its curves in uPlot, three series an arm (mean, low, high), and below it a button for each arm.
class Panel {
  constructor(box, arms, { x, y, height, digits, views }) {
    Object.assign(this, { label: x, height: height + 34, digits, views, view: 0, figure: [this] });
    this.arms = arms.filter(({ name }) => name in views[0].curves);
    this.full = views[0].limits[0];
    this.at = this.full[1];
    for (const { curves, places } of views) for (const curve of Object.values(curves)) curve[0] = places[curve[0]];
    this.data = views.map(({ curves }) => uPlot.join(this.arms.map(({ name }) => {
      const [xs, ...lines] = curves[name];
      return [xs, ...lines, ...Array(3 - lines.length).fill(xs.map(() => null))];
    })));
    const head = make("p", "what", box);
    make("b", "", head, y);
    this.title = make("span", "soft", head);
    this.stage = make("div", "chart", box);
    this.where = make("output", "soft", box);
    const list = make("ul", "arms", box);
    this.entries = this.arms.map((arm) => this.entry(arm, make("button", "", make("li", "", list))));
    this.chart = new uPlot(this.options(), this.data[0], this.stage);
    this.title.textContent = ` ${views[0].title}`;
    const { root } = this.chart;
    root.tabIndex = 0;
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `${y} over ${x}. Arrows: values. Plus and minus: zoom. 0: all.`);
    root.addEventListener("keydown", (event) => this.key(event));
    this.follow(this.chart.over);
    new ResizeObserver(() => this.stage.clientWidth && this.fit()).observe(this.stage);
  }

  entry(arm, button) {
    button.title = arm.name;
    button.append(swatch(arm));
    make("span", "", button, arm.short);
    button.addEventListener("click", () => {
      hide(hidden.has(arm.name) ? [...hidden].filter((name) => name !== arm.name) : [...hidden, arm.name]);
    });
    return { button, value: make("small", "", button) };
  }

  options() {
    const axis = { stroke: () => color("--soft"), font: "12px system-ui, sans-serif", ticks: { show: false } };
    const wide = (u, values) => 14 + 7 * Math.max(...(values ?? [""]).map((text) => text.length));
    const path = (u, series) => ({ stroke: traced(...parts(u, series)) }); // uPlot's own leaves a trace at a gap
    const end = { paths: () => null, points: { show: false } }; // of an interval: the axis holds it
    const mean = ({ color: stroke, dash }) => ({
      stroke, width: 1.6, dash: dash.map((length) => 1.6 * length), paths: path,
      points: { show: true, filter: points, size: 6, fill: stroke },
    });
    return {
      width: 400, height: this.height, padding: [8, 12, 0, 0], legend: { show: false },
      cursor: { y: false, drag: { x: true, y: false, dist: 5 }, points: { size: 7, show: (u, i) => i % 3 === 1 } },
      scales: { x: { time: false, range: (u, low, high) => this.across(low, high) }, y: { range: (u) => this.ends(u) } },
      axes: [
        { ...axis, size: 26, grid: { show: false }, incrs: STEPS },
        { ...axis, size: wide, grid: { stroke: () => color("--line"), width: 1 } },
      ],
      series: [{}, ...this.arms.flatMap((arm) => [mean(arm), end, end])],
      hooks: {
        drawClear: [(u) => clipped(u, (context, box) => this.drawRules(u, context, box))],
        drawAxes: [(u) => clipped(u, (context) => this.drawBands(u, context))],
        setScale: [(u, key) => key === "x" && this.zoomed(u)],
        setCursor: [(u) => u.cursor.left >= 0 && this.point(u.posToVal(u.cursor.left, "x"), true)],
      },
    };
  }

  across(low, high) { // all points is all of the axis
    const xs = this.data[this.view][0];
    const [least, most] = this.full;
    return low <= xs[0] && high >= xs.at(-1) ? this.full : [Math.max(low, least), Math.min(high, most)];
  }

  ends(u) { // as in the picture, as far as what is shown reaches, with the points on both sides of it
    const [least, most] = this.views[this.view].limits[1];
    const [first, last] = u.series[0].idxs;
    const seen = u.data.flatMap((ys, i) => (i && u.series[i].show ? ys.slice(Math.max(first - 1, 0), last + 2) : []));
    const known = seen.filter((y) => y != null);
    if (!known.length) return [least, most];
    const low = known.reduce((a, b) => Math.min(a, b));
    const high = known.reduce((a, b) => Math.max(a, b));
    const room = 0.05 * (high - low || most - least);
    return [Math.max(least, low - room), Math.min(most, high + room)];
  }

  drawRules(u, context, { left, top, width, height }) {
    const { shifts, levels } = this.views[this.view];
    context.strokeStyle = color("--soft");
    context.lineWidth = devicePixelRatio;
    context.setLineDash([devicePixelRatio, 2 * devicePixelRatio]);
    const down = shifts.map((shift) => u.valToPos(shift, "x", true)).map((x) => [[x, top], [x, top + height]]);
    const over = levels.map((level) => u.valToPos(level, "y", true)).map((y) => [[left, y], [left + width, y]]);
    context.stroke(traced(...down, ...over));
  }

  drawBands(u, context) {
    const opacity = 0.15 * Math.min(1, 6 / this.arms.length);
    this.arms.forEach((arm, i) => {
      if (hidden.has(arm.name)) return;
      context.fillStyle = context.strokeStyle = arm.color;
      context.lineWidth = 3 * devicePixelRatio;
      const lows = parts(u, 3 * i + 2);
      parts(u, 3 * i + 3).forEach((highs, k) => {
        const path = traced([...highs, ...lows[k].reverse()]);
        context.globalAlpha = highs.length > 1 ? opacity : 0.4;
        if (highs.length > 1) context.fill(path);
        else context.stroke(path); // a point without a neighbour
      });
    });
  }

  zoomed(u) {
    const { min, max } = u.scales.x;
    const [least, most] = this.full;
    const wanted = this.views.length > 1 && max - min < (most - least) / 2 ? 1 : 0;
    if (wanted !== this.view) {
      this.view = wanted;
      this.title.textContent = ` ${this.views[wanted].title}`;
      queueMicrotask(() => { // after this change of the axis, which would set the other one by the points before
        u.batch(() => {
          u.setData(this.data[wanted], false);
          u.setScale("x", { min, max });
        });
        this.point(this.at);
      });
    }
    this.onZoom?.(min === least && max === most);
    for (const other of this.figure) other.zoom(min, max);
  }

  zoom(low, high) {
    const [least, most] = this.full;
    const { min, max } = this.chart?.scales.x ?? {};
    low = Math.max(low, least);
    high = Math.min(high, most);
    if (high - low < Math.min(2, most - least) || (low === min && high === max)) return;
    this.chart?.setScale("x", { min: low, max: high });
  }

  point(x, isHere = false) { // say the values nearest to x, in all of the figure
    for (const panel of this.figure) panel.read(x);
    if (!this.chart) return;
    queueMicrotask(() => { // once zoomed
      for (const { chart, at } of this.figure) {
        if (!isHere || chart !== this.chart) chart.setCursor({ left: chart.valToPos(at, "x"), top: 0 }, false);
      }
    });
  }

  read(x) {
    const { curves } = this.views[this.view];
    const shown = this.arms.filter(({ name }) => !hidden.has(name));
    const near = (shown.length ? shown : this.arms).map(({ name }) => curves[name][0][nearest(curves[name], x)]);
    const places = near.filter((each) => each !== undefined); // of an arm that has no finite value
    if (!places.length) return;
    this.at = places.reduce((best, each) => (Math.abs(each - x) < Math.abs(best - x) ? each : best));
    this.where.textContent = `${this.label}: ${place(this.at)}`;
    this.arms.forEach(({ name }, i) => {
      const found = nearest(curves[name], this.at);
      const [at, mean, low, high] = curves[name].map((column) => column[found]);
      const said = (value) => number(value, this.digits);
      const interval = low != null ? ` (${said(low)} to ${said(high)})` : "";
      const elsewhere = at === this.at ? "" : ` at ${place(at)}`; // where points were left out
      this.entries[i].value.textContent = found < 0 ? "–" : `${said(mean)}${interval}${elsewhere}`;
    });
  }

  show() {
    this.arms.forEach(({ name }, i) => {
      const show = !hidden.has(name);
      this.entries[i].button.setAttribute("aria-pressed", show);
      if (this.chart.series[3 * i + 1].show === show) return;
      this.chart.batch(() => [1, 2, 3].forEach((k) => this.chart.setSeries(3 * i + k, { show })));
    });
    this.read(this.at);
  }

  fit() {
    this.chart.setSize({ width: this.stage.clientWidth, height: this.height });
  }

  key(event) {
    const act = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), 0: () => this.zoom(...this.full),
      "+": () => this.closer(0.5), "-": () => this.closer(2),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }

  closer(share) {
    const { min, max } = this.chart.scales.x;
    this.zoom(this.at - share * (this.at - min), this.at + share * (max - this.at));
  }

  step(by) {
    const { min, max } = this.chart.scales.x;
    const curves = this.arms.map(({ name }) => this.views[this.view].curves[name]);
    const xs = [...new Set(curves.flatMap(([places, means]) => places.filter((_, i) => means[i] !== null)))];
    xs.sort((a, b) => a - b);
    const x = xs[Math.min(Math.max(xs.indexOf(this.at) + by, 0), xs.length - 1)];
    if (x < min || x > max) this.zoom(min + x - this.at, max + x - this.at);
    this.point(x);
  }

  follow(over) { // one finger reads values, two of them stretch the axis; up and down scrolls the page
    const fingers = new Map();
    const left = (event) => event.clientX - over.getBoundingClientRect().left;
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "touch") return;
      fingers.set(event.pointerId, { x: this.chart.posToVal(left(event), "x"), left: left(event) });
    });
    over.addEventListener("pointermove", (event) => {
      if (!fingers.has(event.pointerId)) return;
      fingers.get(event.pointerId).left = left(event);
      const [one, other] = fingers.values();
      if (!other) return this.chart.setCursor({ left: left(event), top: 0 });
      const unit = (other.x - one.x) / (other.left - one.left);
      const low = one.x - one.left * unit;
      if (unit > 0) this.zoom(low, low + over.clientWidth * unit);
    });
    const lift = (event) => fingers.delete(event.pointerId);
    for (const name of ["pointerup", "pointercancel"]) over.addEventListener(name, lift);
  }
}

function hide(names) {
  hidden.clear();
  for (const name of names) hidden.add(name);
  for (const panel of panels) panel.show();
  for (const button of document.querySelectorAll(".live .all")) button.textContent = hidden.size ? "Show all" : "Hide all";
}

function drawFigure(figure, data) {
  const box = make("div", "live", figure);
  const hint = "Click a name to hide its curve in all figures like this one; drag along the axis to zoom. ";
  const tools = make("p", "soft", box, hint);
  const all = make("button", "all", tools, "Hide all");
  const whole = make("button", "", tools, "Whole axis");
  whole.disabled = true;
  const drawn = data.panels.map((panel) => new Panel(box, data.arms, panel));
  for (const panel of drawn) {
    panel.figure = drawn;
    panel.onZoom = (isWhole) => (whole.disabled = isWhole);
  }
  all.addEventListener("click", () => hide(hidden.size ? [] : panels.flatMap(({ arms }) => arms.map(({ name }) => name))));
  whole.addEventListener("click", () => drawn[0].zoom(...drawn[0].full));
  panels.push(...drawn);
  figure.classList.add("drawn");
  for (const panel of drawn) panel.fit();
}

for (const source of document.querySelectorAll("figure > script")) {
  drawFigure(source.parentElement, JSON.parse(source.textContent));
}
for (const panel of panels) panel.show();
const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", () => panels.forEach(({ chart }) => chart.redraw(false, true)));
