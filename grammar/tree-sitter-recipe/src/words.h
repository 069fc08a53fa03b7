// Made by `python -m alchemist_dsl.editors --write`.
static const char *const TIMES[] = {"s", "min", "h"};
