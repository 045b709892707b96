//! Records one by one: made, read, changed, verified, and by whom.
