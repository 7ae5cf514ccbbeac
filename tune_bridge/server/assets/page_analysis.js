// The page of a sweep's analysis: which drawings are wanted, and what the address says.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;
    const MARGIN = "500px 0px";  // a drawing is made when it is that near

    // As in analysis/cards.py: the controls are choose-NAME.
    const CHOICES = [
        "metric", "measure", "one", "two", "pair", "colour", "over", "log", "objectives",
        "reference",
    ];

    let near = new Set();
    let wanted = {};
    let observer = null;

    function come(entries) {
        const before = near.size;
        entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
            observer.unobserve(entry.target);
            near.add(entry.target.dataset.draws);
        });
        if (near.size > before) {
            window.dash_clientside.set_props("analysis-near", {data: [...near]});
        }
    }

    // A fresh page: nothing is near yet, and nothing was wanted.
    function watch() {
        near = new Set();
        wanted = {};
        if (observer !== null) {
            observer.disconnect();
        }
        observer = new IntersectionObserver(come, {rootMargin: MARGIN});
        document.querySelectorAll("[data-draws]").forEach((part) => observer.observe(part));
    }

    function want(uses, common, chosen) {
        near.forEach((name) => {
            const data = {...common};
            (uses[name] || []).forEach((choice) => {
                data[choice] = chosen[choice];
            });
            const key = JSON.stringify(data);
            if (wanted[name] !== key) {
                wanted[name] = key;
                window.dash_clientside.set_props("want-" + name, {data: data});
            }
        });
    }

    function remember(chosen) {
        const query = new URLSearchParams();
        const before = new URLSearchParams(window.location.search);
        const changed = (window.dash_clientside.callback_context.triggered || [])
            .map((item) => item.prop_id.split(".")[0]);
        CHOICES.forEach((name) => {
            const values = [chosen[name]].flat().map((value) => value === true ? "1" : value);
            if (before.has(name) || changed.includes("choose-" + name)) {
                values.filter(Boolean).forEach((value) => query.append(name, value));
            }
        });
        shared.replaceQuery(query);
    }

    Object.assign(window.dash_clientside.tune_bridge, {
        analysis: (version, scheme, shown, ...rest) => {
            const uses = rest.pop();
            const chosen = Object.fromEntries(CHOICES.map((name, place) => [name, rest[place]]));
            if (shown.length === 0) {
                watch();
            } else {
                want(uses, {version: version, scheme: scheme}, chosen);
            }
            remember(chosen);
            return none();
        },
    });
})();
