"""What every page with a table costs: an empty page of Dash with 20 rows.

``python -m benchmarks._floor PORT`` serves it, in the way of our server.
"""

from __future__ import annotations

import sys

import dash_ag_grid as dag
import uvicorn
from dash import Dash
from fastapi import FastAPI

from tune_bridge.server.compression import Compressed


def main(port: int) -> None:
    server = FastAPI()
    app = Dash(__name__, server=server, add_log_handler=False)
    app.backend.websocket_capability = False
    names = [f"p{i:02d}" for i in range(8)]
    app.layout = dag.AgGrid(
        columnDefs=[{"field": name} for name in names],
        rowData=[dict.fromkeys(names, row + 0.5) for row in range(20)],
    )
    server.add_middleware(Compressed)
    uvicorn.run(server, port=port, log_level="error")


if __name__ == "__main__":
    main(int(sys.argv[1]))
