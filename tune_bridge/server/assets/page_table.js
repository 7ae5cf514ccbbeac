// The table of runs for who has no mouse, and for who has little room; how often drawings come.
(function () {
    "use strict";

    const NARROW = 600;
    const TICKS = "ag-Grid-SelectionColumn";
    const WIDTHS = [["name", 84], ["state", 130]];
    const OBJECTIVE = 104;

    // Columns that hold something of a run, in the order in which they stand.
    function shown(table) {
        return table.getAllDisplayedColumns().filter((column) => column.getColId() !== TICKS);
    }

    // Tab enters the table once, at the cell that was last in use, and leaves it with the next one;
    // arrows move inside. Within a column's filter Tab is as everywhere.
    function byTab(table) {
        table.setGridOption("tabToNextCell", () => false);
        table.setGridOption("tabToNextHeader", () => false);
        let last = null;
        table.addEventListener("cellFocused", (event) => {
            last = event.column ? [event.rowIndex, event.column.getColId()] : last;
        });
        table.setGridOption("focusGridInnerElement", () => {
            if (!table.getDisplayedRowCount()) {
                return false;
            }
            const first = shown(table)[0];
            const [row, column] = last || [0, first.getColId()];
            const there = row < table.getDisplayedRowCount() && table.getColumn(column).isVisible();
            table.ensureIndexVisible(there ? row : 0);
            table.setFocusedCell(there ? row : 0, there ? column : first);
            return true;
        });
    }

    // Enter opens a run, as a click does.
    function byEnter(table) {
        table.addEventListener("cellKeyDown", (event) => {
            if (event.event.key === "Enter" && event.node.id !== undefined) {
                event.node.setSelected(false, false, "api");  // a ticked one is not opened yet
                event.node.setSelected(true, true, "spaceKey");
            }
        });
    }

    // A phone shows the name, the state and the objective side by side.
    function narrow(table) {
        if (window.innerWidth <= NARROW) {
            table.setColumnsVisible([TICKS], false);  // no room for boxes
            const there = shown(table).map((column) => column.getColId());
            const third = there.slice(0, 3).join().startsWith("name,state,s:") ? there[2] : null;
            table.setColumnWidths([...WIDTHS, ...(third ? [[third, OBJECTIVE]] : [])]
                .map(([key, newWidth]) => ({key, newWidth})));
        }
    }

    // The drawings of a change: large ones are sent every few seconds, the last one always.
    let drawnAt = 0, timer = null;

    function pace(version, ...sent) {
        const wait = Math.max(...sent.map((one) => (one && one.wait) || 0)) * 1000;
        const left = drawnAt + wait - Date.now(), path = window.location.pathname;
        window.clearTimeout(timer);
        if (left <= 0) {
            drawnAt = Date.now();
            return version;
        }
        timer = window.setTimeout(() => {
            if (window.location.pathname === path && document.getElementById("curves")) {
                drawnAt = Date.now();
                window.dash_clientside.set_props("paced", {data: version});
            }
        }, left);
        return window.dash_clientside.no_update;
    }

    window.dash_clientside.tune_bridge.pace = pace;
    window.tuneBridge.table = (table) => {
        byTab(table);
        byEnter(table);
        narrow(table);
    };
})();
