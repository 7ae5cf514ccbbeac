// The page of a run.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;

    Object.assign(window.dash_clientside.tune_bridge, {
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
            shared.replaceQuery(query);
            return none();
        },
    });
})();
