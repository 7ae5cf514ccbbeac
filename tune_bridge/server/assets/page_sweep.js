// The page of a sweep.
(function () {
    "use strict";

    const shared = window.tuneBridge;
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
        shared.replaceQuery(query);
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

    Object.assign(window.dash_clientside.tune_bridge, {
        remember: (metric, log, show, top, filter, selected, metrics) => {
            choices = {metric: metric, log: log, show: show, top: top, first: (metrics || [])[0]};
            listen();
            if (listening) {
                writeAddress();
            }
            return none();
        },
        closed: (opened) => {
            const table = api();
            if (opened === false && table && table.getSelectedRows().length) {
                table.deselectAll();
            }
        },
    });
})();
