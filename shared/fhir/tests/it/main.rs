//! The real input: every file is read, and what was made of it is counted.
mod read;
