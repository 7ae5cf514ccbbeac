// The list of sweeps.
(function () {
    "use strict";

    const shared = window.tuneBridge;
    const none = () => window.dash_clientside.no_update;

    Object.assign(window.dash_clientside.tune_bridge, {
        rememberSearch: (words) => {
            const query = new URLSearchParams(window.location.search);
            if (words) {
                query.set("q", words);
            } else {
                query.delete("q");
            }
            shared.replaceQuery(query);
            return none();
        },
    });
})();
