//! The provider directory through its client, in process, on both databases.
mod load;
mod records;
mod searches;
mod suite;
