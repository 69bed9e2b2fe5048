"""The harness: every number the project publishes is computed by ``python -m benchmarks <name>``.

One benchmark is one file: a frozen dataclass whose fields are the settings of one experiment (a cell), a function that
yields the cells of the grid, and a function that turns the rows into tables and pictures. Running, caching, continuing
after an interruption, and the report are shared.
"""
