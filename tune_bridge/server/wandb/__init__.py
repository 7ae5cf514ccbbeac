"""The wire protocol of the ``wandb`` client, so that it works against this server unmodified.

| module | what it does |
|---|---|
| `routes` | the addresses that the client asks for |
| `execute` | GraphQL documents, walked over plain values |
| `types` | what earlier clients ask of the schema |
| `operations` | the table of operations |
| `home` | where the client's runs and projects live in a backend |
| `runs`, `sweeps`, `agents` | what the operations do |
| `steering` | sweeps that the client's own controllers steer |
| `stream` | rows, summaries, console lines and ends of runs |
| `search` | lists of runs |
| `queries` | what of a filter the database answers |
| `filters` | filters, orders and pages |
| `artifacts` | versions of named sets of files, made and changed |
| `catalog` | what is shown of them, and their collections |
| `shelf` | what is kept of them |
| `files` | files of runs, by signed addresses |
| `jsontext` | how values are written for this client |
"""
