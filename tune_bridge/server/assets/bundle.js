// Draws the figures of a bundle, and sorts its table.
(function () {
    "use strict";
    document.querySelectorAll("script[data-for]").forEach((script) => {
        const figure = JSON.parse(script.textContent);
        const node = document.getElementById(script.getAttribute("data-for"));
        if (figure.layout.height) {
            node.style.minHeight = figure.layout.height + "px";
        }
        window.Plotly.newPlot(node, figure.data, figure.layout,
            {displaylogo: false, responsive: true, displayModeBar: false});
    });
    document.querySelectorAll("th").forEach((head, place) => {
        let down = false;
        head.addEventListener("click", () => {
            const body = head.closest("table").tBodies[0];
            const key = (row) => {
                const cell = row.cells[place];
                return cell.hasAttribute("data-v") ? Number(cell.getAttribute("data-v")) : cell.textContent;
            };
            const rows = Array.from(body.rows).sort((a, b) => {
                const x = key(a), y = key(b);
                if (x === "" || y === "") {
                    return x === y ? 0 : x === "" ? 1 : -1;
                }
                return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
            });
            down = !down;
            rows.forEach((row) => body.appendChild(row));
        });
    });
})();
