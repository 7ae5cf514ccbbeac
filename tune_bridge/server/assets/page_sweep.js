// The page of a sweep: what the reader chooses is in the address; the table asks for its rows.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;
    const set = (id, props) => window.dash_clientside.set_props(id, props);
    const byId = (id) => document.getElementById(id);
    const here = () => /^\/sweeps\/[^/]+\/?$/.test(window.location.pathname);

    // One page at a time; made anew with each page.
    let root = null, grid = null, sweep = "", wired = null;
    let choices = {}, told = {}, redraws = 0;
    let early = null;  // the first rows, which came with the page
    let rowsShown = false;  // the drawings come after the first rows: they take the browser's time

    function parsed(text, other) {
        try {
            return JSON.parse(text) || other;
        } catch (error) {
            return other;
        }
    }

    // As the table writes it.
    function tidy(text) {
        const found = parsed(text, null);
        return found ? JSON.stringify(found) : "";
    }

    function begin() {
        const query = new URLSearchParams(window.location.search);
        root = byId("head");
        grid = null;
        told = {};
        rowsShown = false;
        choices = {
            picks: parsed(query.get("pick"), {}), axes: query.get("axes") || "",
            sort: tidy(query.get("sort")), filter: tidy(query.get("filter")),
            cols: query.get("cols") || "", pin: query.get("pin"), run: query.get("run") || "",
            tick: (query.get("tick") || query.get("run") || "").split(",").filter(Boolean),
        };
    }

    // What says which runs are meant, without their order.
    function selection(picks, filter) {
        const query = new URLSearchParams();
        if (choices.show && choices.show.length) {
            query.set("show", choices.show.join(","));
        }
        if (choices.words) {
            query.set("q", choices.words);
        }
        if (filter) {
            query.set("filter", filter);
        }
        if (choices.top) {
            query.set("top", choices.top);
        }
        if (picks && Object.keys(choices.picks).length) {
            query.set("pick", JSON.stringify(choices.picks));
        }
        return query;
    }

    function drawing(query) {
        if (choices.metric && choices.metric !== choices.first) {
            query.set("metric", choices.metric);
        }
        if (choices.log) {
            query.set("log", "1");
        }
        return query;
    }

    function tell(id, data) {
        if (told[id] !== data) {
            told[id] = data;
            set(id, {data: data});
        }
    }

    // Everything that follows the choices: the address, the stores, the downloads.
    function follow() {
        if (!here() || !root) {
            return;
        }
        const query = drawing(selection(true, choices.filter));
        if (choices.axes) {
            query.set("axes", choices.axes);
        }
        if (rowsShown) {
            tell("chosen", "?" + query.toString());
            tell("drawn", drawing(selection(false, choices.filter)).toString() + "#" + redraws);
        }
        const order = selection(true, choices.filter);
        if (choices.sort) {
            order.set("sort", choices.sort);
            query.set("sort", choices.sort);
        }
        const base = "/api/sweeps/" + encodeURIComponent(sweep) + "/runs.";
        ["csv", "parquet"].forEach((form) => {
            const link = byId(form + "-link");
            const asked = order.toString();
            if (link) {
                link.setAttribute("href", base + form + (asked ? "?" + asked : ""));
            }
        });
        ["cols", "group", "run"].forEach((name) => {
            if (choices[name]) {
                query.set(name, choices[name]);
            }
        });
        if (choices.pin !== null && choices.pin !== undefined) {
            query.set("pin", choices.pin);
        }
        if (choices.tick.length > 1) {
            query.set("tick", choices.tick.join(","));
        }
        shared.replaceQuery(query);
        offer();
    }

    // The ticked runs can be compared on the page of the first one.
    function offer() {
        const bar = byId("compare-bar"), [first, ...others] = choices.tick.slice(0, 9);
        if (!bar) {
            return;
        }
        bar.hidden = !others.length;
        if (others.length) {
            const query = drawing(new URLSearchParams({with: others.join(",")}));
            if (query.has("metric")) {
                query.set("y", query.get("metric"));
                query.delete("metric");
            }
            const all = choices.tick.length;
            set("compare-runs", {
                children: "Compare " + (all > 9 ? "9 of " : "") + all + " ticked runs",
                href: "/sweeps/" + encodeURIComponent(sweep) + "/runs/" +
                    encodeURIComponent(first) + "?" + query.toString(),
            });
        }
    }

    // The table.
    function columns() {  // all but the one with the boxes
        return grid.getAllGridColumns().filter((column) => !/^ag-Grid/.test(column.getColId()));
    }

    function visible() {
        return columns().filter((column) => column.isVisible())
            .map((column) => column.getColId());
    }

    function ordered(model) {
        return model && model.length
            ? JSON.stringify(model.map((item) => [item.colId, item.sort])) : "";
    }

    function filtered(model) {
        return model && Object.keys(model).length ? JSON.stringify(model) : "";
    }

    function count(total, runs) {
        const node = byId("chosen-count"), clear = byId("clear");
        if (!node || !clear) {
            return;
        }
        const few = total < runs || selection(true, choices.filter).toString() !== "";
        const text = few ? total.toLocaleString("en") + " of " + runs.toLocaleString("en") +
            " runs chosen" : "";
        if (node.textContent !== text) {
            node.textContent = text;
        }
        clear.hidden = !few;
    }

    // Plotly's program comes while the table is made, and is read when its rows are there. What
    // draws is made with it at hand only: without it Dash makes the whole page anew, and again.
    function loaded(tag, attributes) {
        return new Promise((resolve, reject) => {
            const made = Object.assign(document.createElement(tag), attributes);
            made.onload = resolve;
            made.onerror = () => { made.remove(); reject(); };
            document.head.append(made);
        });
    }

    function fetchEarly() {
        const how = {rel: "preload", as: "script", fetchPriority: "low"};
        if (!window.Plotly) {
            loaded("link", {...how, href: window._dashPlotlyJSURL}).catch(() => undefined);
        }
    }

    function draw(mine) {
        const there = window.Plotly || loaded("script", {src: window._dashPlotlyJSURL});
        Promise.resolve(there).then(() => root === mine && set("rows-shown", {data: true}), () => {
            window.setTimeout(() => root === mine && here() && draw(mine), 2000);
        });
    }

    function ask(what) {
        return fetch("/api/sweeps/" + encodeURIComponent(sweep) + what, {
            credentials: "same-origin",
        }).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)));
    }

    // The first rows, once, when they have these fields.
    function take(fields) {
        const found = early;
        early = null;
        return found && fields.every((field) => found.fields.includes(field)) ? found : null;
    }

    const source = {
        getRows: (params) => {
            const table = grid, query = selection(true, filtered(params.filterModel));
            const sort = ordered(params.sortModel);
            if (sort) {
                query.set("sort", sort);
            }
            const fields = ["id", "kind", "message"];
            visible().forEach((field) => fields.includes(field) || fields.push(field));
            query.set("fields", JSON.stringify(fields));
            query.set("offset", params.startRow);
            query.set("limit", params.endRow - params.startRow);
            const known = params.startRow === 0 && sort === choices.sort &&
                filtered(params.filterModel) === choices.filter && take(fields);
            (known ? Promise.resolve(known) : ask("/table?" + query.toString()))
                .then((found) => {
                    const rows = found.rows.map((cells) => {
                        const row = {};
                        found.fields.forEach((field, place) => { row[field] = cells[place]; });
                        return row;
                    });
                    params.successCallback(rows, found.total);
                    if (table === grid && !grid.isDestroyed()) {
                        count(found.total, found.runs);
                        grid[found.total ? "hideOverlay" : "showNoRowsOverlay"]();
                        select();
                    }
                }).catch(() => params.failCallback()).finally(() => {
                    if (!rowsShown && table === grid) {
                        window.setTimeout(() => {
                            rowsShown = true;
                            follow();
                            draw(root);
                        }, 50);
                    }
                });
        },
    };

    // What is ticked is marked wherever it is.
    function select() {
        choices.tick.forEach((id) => {
            const node = grid.getRowNode(id);
            if (node && !node.isSelected()) {
                node.setSelected(true, false, "api");
            }
        });
    }

    // A press on a row opens it alone; a box, or Ctrl and a press, ticks one more.
    function ticked(table, source) {
        const now = table.getSelectedRows().map((row) => row.id);
        const kept = choices.tick.filter((id) => now.includes(id) || !table.getRowNode(id));
        const alone = source === "rowClicked" && now.length === 1;
        choices.tick = alone ? now : [...kept, ...now.filter((id) => !kept.includes(id))];
        if (!/^checkbox/.test(source)) {
            choices.run = choices.tick.length === 1 ? choices.tick[0] : "";
            set("opened", {data: choices.run || null});
        }
        follow();
    }

    function again() {
        if (grid && !grid.isDestroyed()) {
            grid.refreshInfiniteCache();
        }
    }

    function afresh() {
        follow();
        if (grid && !grid.isDestroyed()) {
            grid.purgeInfiniteCache();
        }
    }

    function columnsChanged() {
        const shown = visible();
        if (choices.cols || shown.join() !== choices.before) {
            choices.cols = JSON.stringify(shown);
        }
        const pinned = columns().filter((column) => column.getPinned())
            .map((column) => column.getColId());
        choices.pin = pinned.join() === "name" ? null : JSON.stringify(pinned);
        follow();
    }

    function wire(table) {
        grid = table;
        choices.before = visible().join();
        shared.table(table);
        table.addEventListener("sortChanged", () => {
            choices.sort = ordered(table.getColumnState().filter((column) => column.sort)
                .sort((a, b) => (a.sortIndex || 0) - (b.sortIndex || 0)));
            follow();
        });
        table.addEventListener("filterChanged", () => {
            choices.filter = filtered(table.getFilterModel());
            follow();
        });
        table.addEventListener("selectionChanged", (event) => {
            if (/^(rowClicked|spaceKey|checkbox)/.test(event.source)) {
                ticked(table, event.source);
            }
        });
        table.addEventListener("columnMoved", (event) => event.finished && columnsChanged());
        table.addEventListener("columnVisible", () => { columnsChanged(); again(); });
        table.addEventListener("columnPinned", columnsChanged);
    }

    // Columns: which are shown, and which stay at the left.
    function fillColumns(menu) {
        const list = byId("columns-list");
        if (!list || !grid) {
            return;
        }
        list.replaceChildren();
        const search = document.createElement("input");
        search.type = "search";
        search.placeholder = "Search columns";
        search.setAttribute("aria-label", "Search columns");
        const lines = document.createElement("ul");
        columns().forEach((column) => {
            const id = column.getColId(), name = column.getColDef().headerName;
            const line = document.createElement("li");
            const label = document.createElement("label");
            const box = document.createElement("input");
            const pin = document.createElement("button");
            box.type = "checkbox";
            box.checked = column.isVisible();
            box.addEventListener("change", () => grid.setColumnsVisible([id], box.checked));
            label.append(box, " " + name);
            const pinned = () => Boolean(column.getPinned());
            pin.type = "button";
            pin.textContent = "pin";
            pin.className = "tb-plain";
            pin.setAttribute("aria-label", "Pin " + name + " to the left");
            pin.setAttribute("aria-pressed", String(pinned()));
            pin.addEventListener("click", () => {
                grid.setColumnsPinned([id], pinned() ? null : "left");
                pin.setAttribute("aria-pressed", String(pinned()));
            });
            line.append(label, pin);
            line.setAttribute("data-name", name.toLowerCase());
            lines.append(line);
        });
        search.addEventListener("input", () => {
            const words = search.value.toLowerCase();
            lines.childNodes.forEach((line) => {
                line.hidden = !line.getAttribute("data-name").includes(words);
            });
        });
        list.append(search, lines);
        search.focus();
    }

    document.addEventListener("toggle", (event) => {
        if (event.target.id === "columns-menu" && event.target.open) {
            fillColumns(event.target);
        }
    }, true);

    // The parallel coordinates: what is picked on an axis, and how the axes are ordered.
    const short = (value) => Number(value.toPrecision(6));

    function pickOf(meaning, ranges) {
        const found = [];
        ranges.forEach(([low, high]) => {
            const missing = meaning.missing;
            if (missing !== null && low <= missing && missing <= high) {
                found.push(null);
            }
            if (meaning.options) {
                meaning.options.forEach((option, place) => {
                    if (low <= place && place <= high) {
                        found.push(option);
                    }
                });
            } else if (high >= meaning.start) {
                const ends = [Math.max(low, meaning.start), high];
                found.push(ends.map((end) => short(meaning.log ? Math.pow(10, end) : end)));
            }
        });
        return found;
    }

    function brushed(plot) {
        const trace = plot.data && plot.data[0], meta = plot.layout && plot.layout.meta;
        if (!trace || trace.type !== "parcoords" || !meta || !meta.axes) {
            return;
        }
        const picks = {};
        trace.dimensions.forEach((axis) => {
            const meaning = meta.axes[axis.name], range = axis.constraintrange;
            if (!meaning || !range || !range.length) {
                return;
            }
            const found = pickOf(meaning, Array.isArray(range[0]) ? range : [range]);
            if (found.length) {
                picks[axis.name] = found;
            }
        });
        Object.entries(choices.picks).forEach(([field, picked]) => {
            if (!(field in meta.axes)) {
                picks[field] = picked;  // of a group that has no axis
            }
        });
        const order = trace.dimensions.map((axis) => axis.name);
        const moved = order.join() !== Object.keys(meta.axes).join();
        const changed = JSON.stringify(picks) !== JSON.stringify(choices.picks);
        if (moved) {
            choices.axes = JSON.stringify(order);
        }
        choices.picks = picks;
        if (changed) {
            afresh();
        } else if (moved) {
            follow();
        }
    }

    // The table and the drawing appear in their own time, and Dash may make them anew. It gives the
    // table a source of rows that keeps one request at a time: ours takes its place.
    let watching = false;

    function watch() {
        watching = false;
        if (!here() || !root) {
            return;
        }
        const plot = document.querySelector("#parallel .js-plotly-plot");
        if (plot && plot !== wired && plot.on) {
            wired = plot;
            plot.on("plotly_restyle", () => brushed(plot));
        }
        let table = null;
        try {
            table = window.dash_ag_grid.getApi("runs");
        } catch (error) {
            return;
        }
        if (!table || table.isDestroyed()) {
            return;
        }
        if (table !== grid) {
            wire(table);
        }
        const theirs = table.getGridOption("datasource");
        if (theirs && theirs !== source) {
            table.setGridOption("datasource", source);
        }
    }

    new MutationObserver(() => {
        if (!watching && here()) {
            watching = true;
            window.setTimeout(watch, 0);
        }
    }).observe(document.documentElement, {childList: true, subtree: true});

    function copied(button) {
        const text = button.getAttribute("data-copied");
        const done = () => {
            const word = button.textContent;
            button.textContent = "Copied";
            window.setTimeout(() => { button.textContent = word; }, 1500);
        };
        const byHand = () => {
            const box = document.createElement("textarea");
            box.value = text;
            document.body.append(box);
            box.select();
            document.execCommand("copy");
            box.remove();
            button.focus();
            done();
        };
        if (navigator.clipboard && window.isSecureContext) {
            navigator.clipboard.writeText(text).then(done, byHand);
        } else {
            byHand();
        }
    }

    function clear() {
        choices.picks = {};
        choices.filter = "";
        choices.show = [];
        choices.top = "";
        choices.words = "";
        redraws += 1;
        set("show", {value: []});
        set("top", {value: ""});
        set("words", {value: ""});
        if (grid && grid.isAnyFilterPresent()) {
            grid.setFilterModel(null);
        }
        afresh();
    }

    function pickGroup(link) {
        const field = link.getAttribute("data-field");
        if (link.getAttribute("aria-current") === "true") {
            delete choices.picks[field];
        } else {
            choices.picks[field] = JSON.parse(link.getAttribute("data-pick"));
        }
        choices.picks = {...choices.picks};
        redraws += 1;
        afresh();
    }

    document.addEventListener("click", (event) => {
        const at = (what) => event.target.closest && event.target.closest(what);
        document.querySelectorAll("details.tb-menu[open]").forEach((menu) => {
            if (!menu.contains(event.target)) {
                menu.open = false;
            }
        });
        const link = at("a[data-pick]");
        if (at("#clear")) {
            clear();
        } else if (at("[data-copied]")) {
            copied(at("[data-copied]"));
        } else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
            event.preventDefault();
            pickGroup(link);
        }
    });

    document.addEventListener("keydown", (event) => {
        const menu = event.key === "Escape" && event.target.closest &&
            event.target.closest("details.tb-menu[open]");
        if (menu) {
            menu.open = false;
            menu.querySelector("summary").focus();
        }
    });

    Object.assign(window.dash_clientside.tune_bridge, {
        remember: (metric, log, show, top, words, group, metrics, id, rows) => {
            if (!here() || !byId("head")) {
                return none();
            }
            const first = root !== byId("head");
            if (first) {
                begin();
                early = rows;
                fetchEarly();
            }
            sweep = id;
            const before = first ? "" : selection(true, choices.filter).toString();
            Object.assign(choices, {
                metric: metric, log: log, show: show, top: top, words: words, group: group,
                first: (metrics || [])[0],
            });
            follow();
            if (first) {
                const mine = root;
                const timer = window.setInterval(() => {
                    watch();
                    if (rowsShown || root !== mine) {
                        window.clearInterval(timer);
                    }
                }, 50);
            } else if (before !== selection(true, choices.filter).toString()) {
                afresh();
            }
            return none();
        },
        refresh: () => {
            again();
            return none();
        },
        closed: (opened) => {
            if (opened === false && grid && !grid.isDestroyed() && choices.run) {
                choices.run = "";
                if (choices.tick.length < 2) {
                    choices.tick = [];
                    grid.deselectAll();
                }
                set("opened", {data: null});
                follow();
            }
        },
    });
})();
