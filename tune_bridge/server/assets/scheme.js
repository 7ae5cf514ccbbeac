// Before anything is painted: the colours follow the system's setting, now and when it changes; and
// the table of a sweep's page, which Dash asks for when it makes the page, is already on its way.
(function () {
    "use strict";
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    function apply() {
        const scheme = dark.matches ? "dark" : "light";
        const root = document.documentElement;
        root.setAttribute("data-mantine-color-scheme", scheme);
        root.setAttribute("data-ag-theme-mode", scheme);
        if (window.dash_clientside && window.dash_clientside.set_props) {
            window.dash_clientside.set_props("scheme", {data: scheme});
        }
    }
    apply();
    dark.addEventListener("change", apply);
    if (/^\/sweeps\/[^/]+\/?$/.test(window.location.pathname)) {
        document.head.append(Object.assign(document.createElement("link"), {
            rel: "preload", as: "script",
            href: "/_dash-component-suites/dash_ag_grid/async-community.js",
        }));
    }
})();
