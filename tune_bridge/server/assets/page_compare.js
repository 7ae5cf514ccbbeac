// The page that compares sweeps.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;

    Object.assign(window.dash_clientside.tune_bridge, {
        rememberCompare: (metric, over, log) => {
            const query = new URLSearchParams(window.location.search);
            const changed = (window.dash_clientside.callback_context.triggered || [])
                .map((item) => item.prop_id);
            if (metric && (query.has("metric") || changed.includes("compare-metric.value"))) {
                query.set("metric", metric);
            }
            query.delete("over");
            query.delete("log");
            if (over === "time") {
                query.set("over", over);
            }
            if (log) {
                query.set("log", "1");
            }
            shared.replaceQuery(query);
            return none();
        },
    });
})();
