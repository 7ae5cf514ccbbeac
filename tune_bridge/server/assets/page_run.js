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
            const query = new URLSearchParams(window.location.search);
            const first = (known || [])[0];
            ["y", "x", "smooth", "log"].forEach((name) => query.delete(name));
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
            replace(query);
            return none();
        },
        rememberWith: (others, everything) => {
            if (!/\/runs\//.test(window.location.pathname)) {
                return none();
            }
            const query = new URLSearchParams(window.location.search);
            query.delete("with");
            query.delete("all");
            if (others && others.length) {
                query.set("with", others.join(","));
            }
            if (everything) {
                query.set("all", "1");
            }
            replace(query);
            return none();
        },
    });

    // A comma stands for itself in an address.
    function replace(query) {
        shared.replaceQuery({toString: () => query.toString().replace(/%2C/g, ",")});
    }

    // What the server has found is offered as it is.
    const functions = window.dashMantineFunctions = window.dashMantineFunctions || {};
    functions.tbAll = (found) => found.options;

    // A link that compares with more runs draws nothing anew but the comparison.
    document.addEventListener("click", (event) => {
        const link = event.target.closest && event.target.closest("a[data-with]");
        if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
            event.preventDefault();
            window.dash_clientside.set_props("with", {
                value: JSON.parse(link.getAttribute("data-with")),
            });
        }
    });
})();
