// The page of a run.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;

    // Output is followed by whoever looks at its end, as in a terminal.
    let atEnd = true;
    document.addEventListener("scroll", (event) => {
        const node = event.target;
        if (node.classList && node.classList.contains("tb-output")) {
            atEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 24;
        }
    }, true);

    Object.assign(window.dash_clientside.tune_bridge, {
        followOutput: () => {
            window.setTimeout(() => {  // when it is drawn
                const node = document.querySelector("#run-output .tb-output");
                if (node && atEnd) {
                    node.scrollTop = node.scrollHeight;
                }
            }, 100);
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
            shared.replaceQuery(query);
            return none();
        },
    });
})();
