//! Stories across services, and the checks that hold the house together. See `tests/it`.
