"use strict";
// What the daemon says of itself, every two seconds. Names come from strangers: they are set as text, never as markup.

const EVERY = 2000; // milliseconds
const MOST_ROWS = 500;
const UNITS = ["B", "kB", "MB", "GB", "TB"];
let before = null;

function size(count) {
  if (count === undefined || count === null) return "";
  let unit = 0;
  while (count >= 999.95 && unit < UNITS.length - 1) { count /= 1000; unit += 1; }
  return `${unit ? count.toFixed(1) : count} ${UNITS[unit]}`;
}

function span(nanoseconds) {
  const seconds = Math.max(0, Math.floor(nanoseconds / 1e9));
  for (const [name, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${name}`;
  }
  return `${seconds} s`;
}

function some(number, one, several) {
  return `${number} ${number === 1 ? one : several}`;
}

function cell(value) {
  const [text, kind] = Array.isArray(value) ? value : [value, ""];
  const made = document.createElement("td");
  made.textContent = text;
  made.className = kind;
  return made;
}

function fill(id, heads, rows) {
  const head = document.createElement("tr");
  for (const [text, kind] of heads) {
    const made = document.createElement("th");
    made.textContent = text;
    made.className = kind;
    head.append(made);
  }
  const shown = rows.slice(0, MOST_ROWS).map((values) => {
    const row = document.createElement("tr");
    row.append(...values.map(cell));
    return row;
  });
  if (rows.length > MOST_ROWS) {
    const more = document.createElement("tr");
    more.append(cell([`and ${rows.length - MOST_ROWS} more`, "dim"]));
    shown.push(more);
  }
  document.querySelector(`#${id} table`).replaceChildren(head, ...shown);
}

function identity(one) {
  return one.id ? `${one.namespace}/${one.id}` : one.name;
}

function earlier(now, kind) {
  const known = before && before[kind] ? before[kind] : [];
  return new Map(known.map((one) => [identity(one), one]));
}

function percent(one, known, key, unit, now) {
  const then = known.get(identity(one));
  if (!then || one[key] === undefined || then[key] === undefined || one.pid !== then.pid) return "";
  const seconds = (now.at - before.at) / 1e9;
  return seconds > 0 ? `${Math.max(0, (100 * (one[key] - then[key])) / unit / seconds).toFixed(1)} %` : "";
}

function status(one, now) {
  const task = one.task;
  if (one.wanted === "removed") return ["removing", "dim"];
  if (task.status === "running") return [task.health ? `running (${task.health})` : "running", "good"];
  if (task.status === "paused") return ["paused", "warn"];
  if (task.status === "stopped") {
    const code = task.exit_code === null || task.exit_code === undefined ? "unknown" : task.exit_code;
    return [`exited (${code}) ${span(now.at - task.exited_at)} ago`, code === 0 ? "dim" : "warn"];
  }
  return task.error ? ["failed to start", "bad"] : ["created", "dim"];
}

function containers(now) {
  const known = earlier(now, "containers");
  const rows = [...now.containers].sort((a, b) => b.created_at - a.created_at).map((one) => [
    [one.name === one.id ? one.id.slice(0, 12) : one.name, ""], [one.namespace, "dim"], status(one, now), [one.image, "wide"],
    [percent(one, known, "cpu_nanoseconds", 1e9, now), "number"], [size(one.memory_bytes), "number"],
    [one.pids === undefined || one.pids === null ? "" : String(one.pids), "number wide"],
    [one.task.status === "running" ? span(now.at - one.task.started_at) : "", "number"],
  ]);
  const number = "number";
  fill("containers", [["Name", ""], ["Namespace", ""], ["Status", ""], ["Image", "wide"], ["CPU", number],
    ["Memory", number], ["Processes", "number wide"], ["Up", number]], rows);
}

function actorRow(one, depth, known, now) {
  const well = one.state === "running" || one.state === "asleep";
  const [kind, space, id] = one.name.split("/");
  return [
    [id ? `${space}/${id.slice(0, 12)}` : kind, `deep${depth}`],
    [one.state, well ? "good" : "bad"], [one.pid ? String(one.pid) : "", "number wide"],
    [one.restarts ? String(one.restarts) : "", one.restarts ? "number warn" : "number"],
    [percent(one, known, "processor", 1, now), "number"], [one.memory ? size(one.memory) : "", "number"],
    [well ? span(now.at - one.started_at) : "", "number"],
  ];
}

function tree(now) {
  const known = earlier(now, "actors");
  const rows = [];
  const roots = ["zygote", "supervisor"];
  const names = new Map(now.containers.map((one) => [`container/${one.namespace}/${one.id}`, one.name]));
  for (const name of roots) {
    const one = now.actors.find((actor) => actor.name === name);
    if (one) rows.push(actorRow(one, roots.indexOf(name), known, now));
  }
  for (const one of now.actors) {
    if (!one.name.includes("/") && !roots.includes(one.name)) rows.push(actorRow(one, 2, known, now));
  }
  for (const [home, kind] of [["pullers", "puller/"], ["jobs", "job/"], ["containers", "container/"]]) {
    const members = now.actors.filter((one) => one.name.startsWith(kind));
    rows.push([[`${home}: ${members.length}`, "deep2 dim"], "", "", "", "", "", ""]);
    for (const one of members) {
      const row = actorRow(one, 3, known, now);
      const name = names.get(one.name);
      if (name && !one.name.endsWith(`/${name}`)) row[0][0] = `${one.name.split("/")[1]}/${name}`;
      rows.push(row);
    }
  }
  fill("tree", [["Actor", ""], ["State", ""], ["Pid", "number wide"], ["Restarts", "number"], ["CPU", "number"],
    ["Memory", "number"], ["Up", "number"]], rows);
}

function images(now) {
  const rows = now.images.map((one) => [
    [one.name, "long"], [one.namespace, "dim"], [one.target.digest.replace("sha256:", "").slice(0, 12), "mono wide"],
    [`${span(now.at - one.updated_at)} ago`, "number"],
  ]);
  fill("images", [["Image", ""], ["Namespace", ""], ["Digest", "wide"], ["Updated", "number"]], rows);
}

function events(now) {
  const names = new Map(now.containers.map((one) => [one.id, one.name]));
  const known = (id) => (id ? (names.get(id) || id).slice(0, 40).replace(/^([0-9a-f]{12})[0-9a-f]{28}$/, "$1") : "");
  const rows = [...now.events].reverse().map((one) => {
    const body = one.body;
    const about = body.reason ? `${body.child}: ${body.reason.text || body.reason.kind}`
      : [known(body.container_id || body.id) || body.name || "", body.image || "",
        body.exit_status === undefined || body.exit_status === null ? "" : `exit ${body.exit_status}`].join(" ");
    const kind = one.topic.startsWith("/actors/") ? "bad" : "";
    return [[new Date(one.at / 1e6).toLocaleTimeString(), "mono"], [one.topic, kind], [one.namespace, "dim wide"], [about, "long"]];
  });
  fill("events", [["At", ""], ["What", ""], ["Namespace", "wide"], ["About", ""]], rows);
}

function arriving(now) {
  const section = document.querySelector("#arriving");
  section.hidden = now.ingests.length === 0;
  section.querySelector("ul").replaceChildren(...now.ingests.map((one) => {
    const item = document.createElement("li");
    const bar = document.createElement("progress");
    if (one.total) { bar.max = one.total; bar.value = one.offset; }
    const name = (one.expected || one.ref).replace("sha256:", "").slice(0, 12);
    item.append(bar, ` ${name} ${size(one.offset)} of ${one.total ? size(one.total) : "?"}`);
    return item;
  }));
}

function summary(now) {
  const services = now.actors.filter((one) => one.kind !== "container");
  const down = services.filter((one) => one.state !== "running").length;
  const orderly = ["normal", "shutdown"];
  const crashes = now.exits.reduce((sum, [, why, number]) => sum + (orderly.includes(why) ? 0 : number), 0);
  const running = now.containers.filter((one) => one.task.status === "running").length;
  const seconds = before ? (now.at - before.at) / 1e9 : 0;
  const rate = seconds > 0 ? Math.max(0, Math.round((now.requests - before.requests) / seconds)) : 0;
  say(`${some(services.length, "actor", "actors")}, ${down} down, ${some(crashes, "crash", "crashes")}; `
    + `${running} of ${some(now.containers.length, "container runs", "containers run")}; ${rate} requests/s`, down > 0);
  document.querySelector("#node").textContent = `on ${now.node}`;
}

function say(text, trouble) {
  const line = document.querySelector("#summary");
  line.textContent = text;
  line.className = trouble ? "trouble" : "";
}

async function read() {
  try {
    const answer = await fetch("figures.json", { cache: "no-store" });
    const now = await answer.json();
    if (!answer.ok) throw new Error(now.error || answer.statusText);
    for (const show of [summary, arriving, containers, tree, images, events]) show(now);
    before = now;
  } catch (error) {
    say(`not read: ${error.message}`, true);
  }
  setTimeout(read, EVERY);
}

read();
