// The list of sweeps.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;
    const MOST = 8;

    function put(query, name, value) {
        if (value) {
            query.set(name, value);
        } else {
            query.delete(name);
        }
    }

    Object.assign(window.dash_clientside.tune_bridge, {
        // What the controls say goes into the address; a new question begins at its first page.
        narrow: (words, state) => {
            const query = new URLSearchParams(window.location.search);
            const before = query.toString();
            put(query, "q", (words || "").trim());
            put(query, "state", state === "any" ? "" : state);
            if (query.toString() !== before) {
                query.delete("offset");
                shared.setQuery(query);
            }
            return none();
        },
        // The controls follow the address (links, back and forth); what is picked stays picked.
        narrowed: (search, words, state, picked) => {
            const query = new URLSearchParams(search || "");
            put(query, "pick", (picked || []).join(","));
            shared.replaceQuery(query);
            const wanted = [query.get("q") || "", query.get("state") || "any"];
            const same = (words || "").trim() === wanted[0];
            return [same ? none() : wanted[0], state === wanted[1] ? none() : wanted[1]];
        },
        // Sweeps that are not in sight stay picked.
        pick: (checked, ids, before) => {
            const shown = new Map(ids.map((id, place) => [id.sweep, checked[place]]));
            const kept = (before || []).filter((sweep) => shown.get(sweep) !== false);
            ids.forEach((id, place) => {
                if (checked[place] && !kept.includes(id.sweep)) {
                    kept.push(id.sweep);
                }
            });
            if (kept.join() === (before || []).join()) {
                return none();
            }
            const query = new URLSearchParams(window.location.search);
            put(query, "pick", kept.join(","));
            shared.replaceQuery(query);
            return kept;
        },
        toCompare: (picked) => {
            const chosen = (picked || []).slice(0, MOST);
            const query = new URLSearchParams(chosen.map((sweep) => ["sweep", sweep]));
            const many = (picked || []).length > MOST ? " the first " + MOST : "";
            return [
                "/compare?" + query.toString(),
                chosen.length < 2 ? "Pick sweeps to compare"
                    : "Compare" + (many || " " + chosen.length),
                chosen.length < 2 ? "tb-go tb-go-off" : "tb-go",
            ];
        },
    });
})();
