// Made by `python -m alchemist_dsl.docs.editors --write`.
static const char *const TIMES[] = {"s", "min", "h"};
