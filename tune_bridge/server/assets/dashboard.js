// The part of the dashboard that lives in the browser: number formats, the address, the clock.
(function () {
    "use strict";

    const SPELLED = {"NaN": NaN, "Infinity": Infinity, "-Infinity": -Infinity};

    function toNumber(value) {
        if (typeof value === "number") {
            return value;
        }
        return value in SPELLED ? SPELLED[value] : null;
    }

    // Six significant digits, as the server writes them.
    function number(value) {
        if (value === null || value === undefined) {
            return "";
        }
        if (typeof value !== "number") {
            return String(value);
        }
        if (Number.isInteger(value) && Math.abs(value) < 1e15) {
            return String(value);
        }
        const size = Math.abs(value);
        if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
            const parts = value.toExponential(5).split("e");
            return parts[0].replace(/\.?0+$/, "") + "e" + Number(parts[1]);
        }
        return String(Number(value.toPrecision(6)));
    }

    function duration(seconds) {
        if (typeof seconds !== "number") {
            return "";
        }
        const whole = Math.max(0, Math.floor(seconds));
        const pad = (n) => String(n).padStart(2, "0");
        if (whole < 60) {
            return whole + " s";
        }
        if (whole < 3600) {
            return Math.floor(whole / 60) + " min " + pad(whole % 60) + " s";
        }
        if (whole < 86400) {
            return Math.floor(whole / 3600) + " h " + pad(Math.floor((whole % 3600) / 60)) + " min";
        }
        return Math.floor(whole / 86400) + " d " + Math.floor((whole % 86400) / 3600) + " h";
    }

    function time(seconds) {
        if (typeof seconds !== "number") {
            return "";
        }
        const at = new Date(seconds * 1000);
        const pad = (n) => String(n).padStart(2, "0");
        return at.getFullYear() + "-" + pad(at.getMonth() + 1) + "-" + pad(at.getDate()) + " " +
            pad(at.getHours()) + ":" + pad(at.getMinutes()) + ":" + pad(at.getSeconds());
    }

    // Runs without a value stand last whichever way a column is sorted, NaN just before them.
    function compare(a, b, nodeA, nodeB, isDescending) {
        const rank = (value) => (value === null ? 2 : Number.isNaN(value) ? 1 : 0);
        const x = toNumber(a), y = toNumber(b);
        const difference = rank(x) - rank(y);
        if (difference !== 0) {
            return isDescending ? -difference : difference;
        }
        return rank(x) > 0 || x === y ? 0 : x < y ? -1 : 1;
    }

    const grid = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
    grid.tbNumber = number;
    grid.tbDuration = duration;
    grid.tbTime = time;
    grid.tbCompare = compare;
    grid.tbFilterNumber = (params) => toNumber(params.data[params.colDef.field]);

    const none = () => window.dash_clientside.no_update;
    let listening = null;

    function api() {
        try {
            return window.dash_ag_grid.getApi("runs") || null;
        } catch (error) {
            return null;
        }
    }

    // The choices of the reader go into the address, in place: no history entry for each click.
    let choices = {};

    function writeAddress() {
        if (!/^\/sweeps\/[^/]+\/?$/.test(window.location.pathname)) {
            return;
        }
        const query = new URLSearchParams();
        const table = api();
        if (choices.metric && choices.metric !== choices.first) {
            query.set("metric", choices.metric);
        }
        if (choices.log) {
            query.set("log", "1");
        }
        if (choices.show && choices.show.length) {
            query.set("show", choices.show.join(","));
        }
        if (choices.top) {
            query.set("top", choices.top);
        }
        if (table) {
            const sorted = table.getColumnState()
                .filter((column) => column.sort)
                .sort((a, b) => (a.sortIndex || 0) - (b.sortIndex || 0))
                .map((column) => [column.colId, column.sort]);
            if (sorted.length) {
                query.set("sort", JSON.stringify(sorted));
            }
            const filter = table.getFilterModel();
            if (filter && Object.keys(filter).length) {
                query.set("filter", JSON.stringify(filter));
            }
            const selected = table.getSelectedRows();
            if (selected.length) {
                query.set("run", selected[0].id);
            }
        }
        replaceQuery(query);
    }

    function replaceQuery(query) {
        const text = query.toString();
        const wanted = window.location.pathname + (text ? "?" + text : "") + window.location.hash;
        if (wanted !== window.location.pathname + window.location.search + window.location.hash) {
            window.history.replaceState(window.history.state, "", wanted);
        }
    }

    function listen() {
        window.dash_ag_grid.getApiAsync("runs").then((table) => {
            if (table === listening) {
                return;
            }
            listening = table;
            writeAddress();
            table.addEventListener("sortChanged", writeAddress);
            table.addEventListener("filterChanged", writeAddress);
            table.addEventListener("selectionChanged", writeAddress);
        }).catch(() => undefined);
    }

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.tune_bridge = {
        where: (path) => ({
            path: path,
            search: window.location.search,
            scheme: document.documentElement.getAttribute("data-mantine-color-scheme"),
        }),
        beat: (count) => (document.hidden ? none() : count),
        scheme: () => document.documentElement.getAttribute("data-mantine-color-scheme"),
        title: (title) => {
            if (title) {
                document.title = title;
            }
        },
        version: (tick, known) => {
            const path = tick && tick.path;
            if (!path || path !== window.location.pathname || tick.version === known) {
                return none();
            }
            return tick.version;
        },
        remember: (metric, log, show, top, filter, selected, metrics) => {
            choices = {metric: metric, log: log, show: show, top: top, first: (metrics || [])[0]};
            listen();
            if (listening) {
                writeAddress();
            }
            return none();
        },
        rememberRun: (names, over, smooth, log, known) => {
            if (!/\/runs\//.test(window.location.pathname)) {
                return none();
            }
            const query = new URLSearchParams();
            const first = (known || [])[0];
            if (names && names.length && !(names.length === 1 && names[0] === first)) {
                names.forEach((name) => query.append("y", name));
            }
            if (over && over !== "_step") {
                query.set("x", over);
            }
            if (Number(smooth)) {
                query.set("smooth", smooth);
            }
            if (log) {
                query.set("log", "1");
            }
            replaceQuery(query);
            return none();
        },
        rememberSearch: (words) => {
            const query = new URLSearchParams(window.location.search);
            if (words) {
                query.set("q", words);
            } else {
                query.delete("q");
            }
            replaceQuery(query);
            return none();
        },
        rememberAnalysis: (metric, other, measure, one, two, log) => {
            const query = new URLSearchParams();
            const chosen = {metric: metric, other: other, measure: measure, one: one, two: two};
            const before = new URLSearchParams(window.location.search);
            const changed = (window.dash_clientside.callback_context.triggered || [])
                .map((item) => item.prop_id);
            Object.entries({
                metric: "analysis-metric", other: "other", measure: "measure",
                one: "pair-one", two: "pair-two",
            }).forEach(([name, id]) => {
                if (chosen[name] && (before.has(name) || changed.includes(id + ".value"))) {
                    query.set(name, chosen[name]);
                }
            });
            if (log) {
                query.set("log", "1");
            }
            replaceQuery(query);
            return none();
        },
        closed: (opened) => {
            const table = api();
            if (opened === false && table && table.getSelectedRows().length) {
                table.deselectAll();
            }
        },
    };

    // The buttons of verbs, whenever they were drawn.
    document.addEventListener("click", (event) => {
        const button = event.target.closest && event.target.closest("[data-verb]");
        if (button) {
            window.dash_clientside.set_props("pressed", {data: {
                verb: button.getAttribute("data-verb"),
                of: button.getAttribute("data-of"),
                at: Date.now(),
            }});
        }
    });

    // Relative times grow old while a page stays open.
    function relative(past) {
        if (past < 5) {
            return "just now";
        }
        if (past < 60) {
            return Math.floor(past) + " s ago";
        }
        if (past < 3600) {
            return Math.floor(past / 60) + " min ago";
        }
        if (past < 86400) {
            return Math.floor(past / 3600) + " h ago";
        }
        const days = Math.floor(past / 86400);
        return days === 1 ? "1 day ago" : days + " days ago";
    }

    window.setInterval(() => {
        document.querySelectorAll("time[data-at]").forEach((node) => {
            const text = node.getAttribute("data-prefix") +
                relative(Date.now() / 1000 - Number(node.getAttribute("data-at")));
            if (node.firstChild && node.firstChild.nodeValue !== text) {
                node.firstChild.nodeValue = text;
            }
        });
    }, 10000);
})();
