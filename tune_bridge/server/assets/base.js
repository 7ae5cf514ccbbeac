// What all pages share in the browser: number formats, the address, the clock. The other scripts
// are one for each page; this one is loaded before them, by its name.
(function () {
    "use strict";

    // Dash loads all of Plotly with the first drawing; what our drawings need is elsewhere.
    const plotly = document.documentElement.dataset.plotly;
    Object.defineProperty(window, "_dashPlotlyJSURL", {get: () => plotly, set: () => undefined});

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

    const grid = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
    grid.tbNumber = number;
    grid.tbDuration = duration;
    grid.tbTime = time;

    const none = () => window.dash_clientside.no_update;

    function replaceQuery(query) {
        const text = query.toString();
        const wanted = window.location.pathname + (text ? "?" + text : "") + window.location.hash;
        if (wanted !== window.location.pathname + window.location.search + window.location.hash) {
            window.history.replaceState(window.history.state, "", wanted);
        }
    }

    // The same, and what follows the address is told.
    function setQuery(query) {
        replaceQuery(query);
        window.dash_clientside.set_props("address", {search: window.location.search});
    }

    window.tuneBridge = {
        number: number, duration: duration, time: time, replaceQuery: replaceQuery,
        setQuery: setQuery,
    };

    window.dash_clientside = window.dash_clientside || {};
    window.dash_clientside.tune_bridge = {
        where: (path) => ({
            path: path,
            search: window.location.search,
            scheme: document.documentElement.getAttribute("data-mantine-color-scheme"),
        }),
        beat: (count) => (
            document.hidden ? none() : {count: count, search: window.location.search}
        ),
        scheme: () => document.documentElement.getAttribute("data-mantine-color-scheme"),
        title: (title) => {
            if (title) {
                document.title = title;
            }
            const place = window.location.hash.slice(1);
            if (place) {  // its page is drawn later than the browser looks for it
                window.setTimeout(() => {
                    const node = document.getElementById(place);
                    if (node) {
                        node.scrollIntoView({block: "center"});
                    }
                }, 300);
            }
        },
        version: (tick, known) => {
            const path = tick && tick.path;
            if (!path || path !== window.location.pathname || tick.version === known) {
                return none();
            }
            return tick.version;
        },
    };

    // A server that is away cannot say so itself: every request of the page tells.
    const ask = window.fetch;
    window.fetch = (...words) => ask.apply(window, words).then((answer) => {
        say("");
        return answer;
    }, (error) => {
        if (error.name !== "AbortError") {
            say("The server does not answer. This page goes on by itself when it does.");
        }
        throw error;
    });

    function say(words) {
        const node = document.getElementById("unreachable");
        if (node && node.textContent !== words) {
            node.textContent = words;
        }
    }

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

    // The answer to a question, with the text that stands there now.
    document.addEventListener("click", (event) => {
        const at = event.target.closest && event.target.closest("#question-yes, #question-no");
        if (at) {
            window.dash_clientside.set_props("answered", {data: {
                yes: at.id === "question-yes",
                text: document.getElementById("edited").value,
                at: Date.now(),
            }});
        }
    });

    // What was edited is sent off from the keyboard, too.
    document.addEventListener("keydown", (event) => {
        const yes = document.getElementById("question-yes");
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && yes) {
            event.preventDefault();
            yes.click();
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
