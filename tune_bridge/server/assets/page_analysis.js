// The page of a sweep's analysis.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;

    Object.assign(window.dash_clientside.tune_bridge, {
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
            shared.replaceQuery(query);
            return none();
        },
    });
})();
